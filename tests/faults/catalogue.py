"""The faults, declared: what each is called, what it does, and how it is brought about and taken back.

``away(site)`` holds while its block runs; what it yields are remarks for the matrix, complete after the block.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle

from confluent_kafka.admin import AdminClient

from stack import kafka
from tests.e2e.publisher import right_clock
from tests.e2e.stack import until
from tests.faults import second
from tests.faults.disk import full
from tests.faults.kafkaproxy import ADD_PARTITIONS
from tests.faults.site import DISKS, SERVERS, SERVICES, Site

Remarks = list[str]
Away = Callable[[Site], AbstractContextManager[Remarks]]
DAY_MS = 86_400_000
DELAY_S = 0.2
CUT_EVERY_S = 3.0
ONE_ONLY = "online"
"""By its contract it runs as one instance: its weights belong to the whole stream."""
LINKS = {"kafka": "Kafka", "artemis": "the MQTT broker", "postgres": "PostgreSQL", "endpoint": "the endpoint"}
FENCED = 47
ENOUGH_S = {"endpoint": 70.0}
"""It is asked once a minute, as windows close: a shorter fault could pass unnoticed."""


@dataclass(frozen=True)
class Fault:
    """``part`` is the one that is away meanwhile, which must be said. ``at_once``: it is over as soon as it happened."""

    name: str
    what: str
    away: Away
    part: str = ""
    at_once: bool = False
    needs_root: bool = False
    clock_off_ms: Callable[[str], int] = right_clock
    keeps_log: bool = True
    """False where a topic loses its records: then the store alone is asked."""
    at_least_s: float = 0.0
    """It lasts so long, however short the others are."""
    quiet: bool = False
    """Nothing is published meanwhile, and what was is in the store before."""


@contextmanager
def killed(site: Site, part: str) -> Iterator[Remarks]:
    os.kill(site.pid(part), signal.SIGKILL)
    yield []


@contextmanager
def stopped(site: Site, part: str) -> Iterator[Remarks]:
    """Every process of the part stands still, its connections open; then it goes on as if nothing had been.

    Also those below them: PostgreSQL writes its titles over its processes' environment, so that only the first has the stack's mark.
    """
    marked = site.processes(part)
    processes = {*marked, *(child for process in marked for child in process.children(recursive=True))}
    for process in processes:
        process.suspend()
    try:
        yield []
    finally:
        for process in processes:
            process.resume()


@contextmanager
def everything_killed(site: Site) -> Iterator[Remarks]:
    for process in site.processes():
        process.kill()
    yield []
    site.up()


@contextmanager
def everything_restarted(site: Site) -> Iterator[Remarks]:
    site.down()
    yield []
    site.up()


@contextmanager
def delayed(site: Site, part: str) -> Iterator[Remarks]:
    site.links[part].delay_s = DELAY_S
    try:
        yield []
    finally:
        site.links[part].delay_s = 0.0


@contextmanager
def cut(site: Site, part: str) -> Iterator[Remarks]:
    remarks: Remarks = []
    ended: list[int] = []
    with repeatedly(lambda: ended.append(site.links[part].cut()), every_s=CUT_EVERY_S):
        yield remarks
    remarks.append(f"{sum(ended)} connections cut")


@contextmanager
def ends_held(site: Site, clients: Sequence[str] = ("features", "inference", "online")) -> Iterator[Remarks]:
    """One service after the other: its EndTxn is held back, and let go once its next transaction has begun."""
    remarks: Remarks = []
    answers: Counter[int] = Counter()
    turns = cycle(clients)

    def hold() -> None:
        client = f"mliot-{next(turns)}-0"
        site.kafka.hold_end(client)
        if site.kafka.wait_held(within_s=2):
            begun = site.kafka.answered(client, ADD_PARTITIONS)
            site.kafka.wait_answered(client, ADD_PARTITIONS, begun + 1, within_s=20)
        answer = site.kafka.release_end()
        if answer is not None:
            answers[answer] += 1

    with repeatedly(hold, every_s=0.1):
        yield remarks
    obeyed = sum(answers.values()) - answers[FENCED]
    remarks.append(f"{answers[FENCED]} late EndTxn fenced, {obeyed} not {dict(answers)}")


@contextmanager
def recreated(site: Site, topic: str) -> Iterator[Remarks]:
    """The topic is deleted, and made anew with nothing in it."""
    admin = AdminClient({"bootstrap.servers": site.direct.kafka_address})
    admin.delete_topics([topic])[topic].result(30)
    until(f"{topic} is gone", lambda: topic not in admin.list_topics(timeout=10).topics, within_s=30)
    yield []
    kafka.create_topics(site.direct)


@contextmanager
def nothing(_: Site) -> Iterator[Remarks]:
    yield []


@contextmanager
def repeatedly(act: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """``act`` again and again, in a thread, while the block runs; what it raises is raised after the block."""
    over = threading.Event()
    failed: list[Exception] = []

    def run() -> None:
        try:
            while not over.wait(every_s):
                act()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="fault")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]


def _clock(off_ms: int) -> Callable[[str], int]:
    """One device of all has a wrong clock."""
    return lambda device: off_ms if device == "sensor-7" else 0


def _of(away: Callable[[Site, str], AbstractContextManager[Remarks]], part: str) -> Away:
    return partial(away, **{"part": part})


def _lasting(name: str, what: str, away: Callable[[Site, str], AbstractContextManager[Remarks]], part: str, *, must_be_said: bool) -> Fault:
    return Fault(name, what, _of(away, part), part if must_be_said else "", at_least_s=ENOUGH_S.get(part, 0.0))


CATALOGUE: tuple[Fault, ...] = (
    Fault("late-end", "EndTxn of features, inference and online in turn held back until the next transaction has begun", ends_held),
    *(Fault(f"kill-{part}", f"kill -9 of {part}", _of(killed, part), part, at_once=True) for part in (*SERVICES, *SERVERS)),
    *(_lasting(f"stop-{part}", f"SIGSTOP of {part}, then SIGCONT", stopped, part, must_be_said=True) for part in (*SERVICES, *SERVERS)),
    Fault("kill-everything", "kill -9 of every process at once, supervisors too; then up", everything_killed, at_once=True),
    Fault("restart-everything", "mliot down, mliot up", everything_restarted, at_once=True),
    *(
        Fault(
            f"second-{name}",
            f"a second {name} comes, ends, comes again and is killed",
            partial(second.comes_and_goes, service=name),
            at_once=True,
        )
        for name in SERVICES
        if name != ONE_ONLY
    ),
    Fault("clock-ahead", "one device's clock is a day ahead: its frames are dead letters", nothing, clock_off_ms=_clock(DAY_MS)),
    Fault("clock-behind", "one device's clock is a day behind: its frames are kept, and late", nothing, clock_off_ms=_clock(-DAY_MS)),
    *(
        _lasting(f"delay-{part}", f"{DELAY_S * 1000:g} ms more to and from {name}", delayed, part, must_be_said=False)
        for part, name in LINKS.items()
    ),
    *(
        _lasting(f"cut-{part}", f"connections to {name} cut every {CUT_EVERY_S:g} s", cut, part, must_be_said=False)
        for part, name in LINKS.items()
    ),
    *(Fault(f"full-{part}", f"the disk of {part} is full", partial(full, part=part), part, needs_root=True) for part in DISKS),
    Fault(
        "topic-recreated",
        "stream-feature is deleted and made anew",
        partial(recreated, topic="stream-feature"),
        at_once=True,
        keeps_log=False,
        quiet=True,
    ),
)
"""In the order in which they are run: the last one takes records out of the log for good."""


def chosen(faults: Sequence[Fault], names: Sequence[str], *, also: Collection[str] = ()) -> list[Fault]:
    """Those of ``faults`` that are named, by name or by the word before the dash (``kill``); all where none is.

    Raises :class:`KeyError` on a name that is neither theirs nor one of ``also``.
    """
    every = {fault.name for fault in faults} | set(also)
    known = every | {name.partition("-")[0] for name in every}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return [fault for fault in faults if not names or fault.name in names or fault.name.partition("-")[0] in names]
