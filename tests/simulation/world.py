"""The platform in one process: the services' own generators, an effect at a time, in an order that a seed draws, with faults between."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

import structlog

from mliot.errors import Transient
from mliot.measurements import load_measurements
from mliot.messages import CHECKPOINT_TOPIC
from mliot.services import ServiceStatus
from mliot.usecase import UseCase
from streaming.features.labels import label_sources
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.kafka.transactions import TransactionalProducer, Transactions
from streaming.runtime.driver import Driver, broker_performers, log_performers, model_performers
from streaming.runtime.effects import Acknowledge, Deliver, Emit, Partition, Positions, Read, Recall, Record, Save, Service
from streaming.services import bridge, commands, features, inference, online, store
from streaming.simulated import Crash, Faults, SimulatedBroker, SimulatedKafka, SimulatedLog, SimulatedStore
from tests.simulation.plan import FLEET, HOUR, MINUTE, SECOND, START_MS, Happening, Plan, frame
from tests.simulation.surroundings import GONE, WANTED, Databases, Fans, ModelServer, WorldClock
from usecases import load_use_cases

SERVICES = ("bridge", "features", "inference", "online", "store", "commands")
PARTITIONS = 2
DECODERS = load_decoders()
MAX_STEPS = 30_000
RETENTION_MS = 30 * 24 * HOUR
DWELL_S, TIME_TO_LIVE_S, CHANGES_AN_HOUR, STALEST_S = 10, 15, 2, 180
"""Of the commands in a world: a twelfth and a sixth of the fan's own, and so few changes that some are withheld."""
PIECE_BYTES = 1
"""A piece of a checkpoint holds one entry, so that a process may die between any two of them."""


@dataclass(frozen=True)
class Switches:
    """What a test takes away from the platform, to see the checker bite. All off: the platform as it is."""

    trust_late_commits: bool = False
    acknowledge_first: bool = False
    positions_first: bool = False
    forget_doubt_on_open: bool = False


class Trusting(Transactions):
    """A producer is used on although its commit may have been sent twice."""

    def doubt(self) -> str:
        return ""


class Forgetful(Transactions):
    """A doubt counts, but not where the commit ends while partitions are opened anew."""

    _opening = False

    def ready(self) -> TransactionalProducer:
        self._opening = True
        try:
            return super().ready()
        finally:
            self._opening = False

    def doubt(self) -> str:
        return "" if self._opening else super().doubt()


known_measurements = cache(load_measurements)


@cache
def use_cases() -> dict[str, UseCase]:
    """The built-in ones at the pace of a small world: labels and commands within seconds."""
    found = dict(load_use_cases())
    fan = found["fan_speed"]
    assert fan.acts is not None
    quick = {"dwell": timedelta(seconds=DWELL_S), "time_to_live": timedelta(seconds=TIME_TO_LIVE_S), "per_hour": CHANGES_AN_HOUR}
    label = fan.label.model_copy(update={"arrives_after": fan.label.arrives_after / 20})
    found["fan_speed"] = fan.model_copy(update={"label": label, "acts": fan.acts.model_copy(update=quick)})
    return found


@dataclass
class Process:
    """A process of a service. ``wake_ms`` is when it goes on; ``doomed`` one ends soon, whatever it does."""

    service: str
    instance: str
    log: SimulatedLog
    driver: Driver
    status: ServiceStatus
    windows: OpenWindows | None
    wake_ms: int
    pause_s: float = 0.0
    idle: int = 0
    hung: bool = False
    doomed_ms: int | None = None


@dataclass
class World:
    """``story`` says what happened; the checker reads ``kafka``, ``store``, ``broker`` and ``reads``, when all is over."""

    plan: Plan
    databases: Databases
    switches: Switches = field(default_factory=Switches)
    tell: Callable[[str], object] = lambda _: None
    reads: list[tuple[str, Record]] = field(default_factory=list)
    published: list[tuple[str, bytes]] = field(default_factory=list)
    published_ms: dict[bytes, int] = field(default_factory=dict)
    foreign: list[tuple[str, bytes]] = field(default_factory=list)
    fresh: list[bytes] = field(default_factory=list)
    stuck: str = ""

    def __post_init__(self) -> None:
        self.rng = random.Random(f"schedule {self.plan.seed}")
        self._cleaner = random.Random(f"log cleaner {self.plan.seed}")
        self.clock = WorldClock(START_MS)
        self.faults = Faults(self.plan.seed or 1, **self.plan.shares, tell=self._say)
        self.kafka = SimulatedKafka(self.clock, PARTITIONS)
        self.broker = SimulatedBroker(self.clock, self.faults)
        self.store = SimulatedStore(self.faults)
        self.model = ModelServer(self.clock, self.plan.champion, use_cases())
        self.fans = Fans(self.broker, self.rng, self.plan.late_acks, self.plan.unreachable)
        self.processes: list[Process] = []
        self._messages = list(self.plan.messages)
        self._happenings = list(self.plan.happenings)
        self._down: dict[type, int] = {}
        self._born = 0
        self._restarts: list[tuple[int, str, str]] = [(START_MS, service, "0") for service in SERVICES]
        self._calm = False
        self._written = 0

    def run(self) -> None:
        """The plan, then calm, a fresh frame of each device, and time enough for every window to close."""
        with silent_log():
            self._until(lambda: self.clock.ms >= self.plan.until_ms and not self._messages)
            self._cease()
            self._until(self._quiet)
            for device in FLEET:
                self.fresh.append(frame(device, self.clock.now_ms() - 1, 3.0))
                self._publish(f"iot/{device.name}/frames", self.fresh[-1])
            self._until(self._quiet)
            for ms in (75 * SECOND, 61 * MINUTE):
                self._say(f"the clock goes on by {ms // SECOND} s")
                self.clock.ms += ms
                self._rouse()
                self._until(self._quiet)
            for process in self.processes:
                process.driver.close()
        self.databases.free()

    # The scheduler

    def _until(self, done: Callable[[], bool]) -> None:
        for _ in range(MAX_STEPS):
            if done() or self.stuck:
                return
            self._step()
        self.stuck = "not done: " + ", ".join(f"{p.service} {p.status.snapshot()['last_error']}" for p in self.processes)

    def _step(self) -> None:
        """What is due happens; else somebody who is ready takes a step; else time passes."""
        self._due()
        ready = [process for process in self.processes if process.wake_ms <= self.clock.ms]
        if ready:
            self._advance(self.rng.choice(ready))
            self.clock.ms += self.rng.randrange(3)
            return
        later = [process.wake_ms for process in self.processes] + [ms for ms, *_ in self._restarts]
        later += [self._messages[0].at_ms] if self._messages else []
        self.clock.ms = max(self.clock.ms, min(later))

    def _due(self) -> None:
        now = self.clock.ms
        while self._messages and self._messages[0].at_ms <= now:
            message = self._messages.pop(0)
            self._publish(message.topic, message.payload)
        while self._happenings and self._happenings[0].at_ms <= now:
            self._befall(self._happenings.pop(0))
        for restart in [each for each in self._restarts if each[0] <= now]:
            self._restarts.remove(restart)
            self._start(*restart[1:])
        if self.kafka.under_way and self.rng.random() < 0.01:
            self._say(self.kafka.arrive(self.kafka.under_way[0]))
        if self.rng.random() < 0.3:
            self.kafka.transactions.mark()
        if self._cleaner.random() < 0.02:
            log = self.kafka.log(Partition(CHECKPOINT_TOPIC, self._cleaner.randrange(PARTITIONS)))
            log.compact(self._cleaner.randrange(log.end + 1))
        self.fans.obey(now)
        for process in [each for each in self.processes if each.doomed_ms is not None and each.doomed_ms <= now]:
            self._stop(process)

    def _advance(self, process: Process) -> None:
        if process.hung:
            process.hung = False
            process.log.hang(None)
            self._say(f"{self._name(process)} goes on")
        if self.rng.random() < self.plan.step_crash and not self._calm:
            self._die(process, "between two effects")
            return
        self.clock.slept_ms = 0
        idle_before = process.log.idle_reads + self.broker.idle_reads * (process.service == "bridge")
        try:
            if process.pause_s:
                process.driver.wait(0)
            process.pause_s = process.driver.step()
        except Crash as crash:
            self._die(process, str(crash))
            return
        idle_after = process.log.idle_reads + self.broker.idle_reads * (process.service == "bridge")
        process.idle = process.idle + 1 if idle_after > idle_before else 0
        lazy = self.rng.choice((2, 4, 8)) * (3 if process.service == "features" else 1)  # its batches are the dear ones
        process.wake_ms = self.clock.ms + self.clock.slept_ms * lazy + round(process.pause_s * 1000)

    # Processes

    def _start(self, service: str, instance: str) -> None:
        self._born += 1
        policy = Trusting if self.switches.trust_late_commits else Forgetful if self.switches.forget_doubt_on_open else Transactions
        log = SimulatedLog(
            self.kafka, f"mliot-{service}", self.faults, instance=instance, process=self._born, reads_only=service == "store", policy=policy
        )
        if service == "bridge":
            self.broker.reconnect()
        status = ServiceStatus(service, self.clock)
        windows = self.databases.take() if service == "features" else None
        driver = Driver(self._service(service, windows), self._performers(service, log), status=status, idle=log.idle, lag=log.lag)
        self.processes.append(Process(service, instance, log, driver, status, windows, self.clock.ms))

    def _service(self, name: str, windows: OpenWindows | None) -> Service:
        plan, cases, rows = self.plan, use_cases(), self.plan.rows
        if name == "bridge":
            measurements = known_measurements()

            def decided(batch):
                return bridge.decide(
                    batch, decoders=DECODERS, measurements=measurements, retention_ms=RETENTION_MS, now_ms=self.clock.now_ms()
                )

            return lambda: (first_acknowledged if self.switches.acknowledge_first else bridge.bridge)(rows, decided)
        sources = label_sources(cases, self.databases.models)
        return {
            "features": lambda: features.features(windows, sources, rows=rows, fill_ms=1, grace_ms=plan.grace_ms, idle_ms=plan.idle_ms),
            "inference": lambda: inference.inference(cases, self._columns(), rows, 1),
            "online": lambda: online.online(cases, rows, tuple(range(PARTITIONS)), PIECE_BYTES),
            "store": lambda: store.store(rows, 1),
            "commands": lambda: commands.commands(cases, rows, 1),
        }[name]

    def _columns(self) -> dict[str, frozenset[str]]:
        """Those that the models were compiled with, for the fleet's few measurements, and those that the use cases count on."""
        declared = {one.features: frozenset(one.columns) for one in use_cases().values()}
        return {model: columns | declared.get(model, frozenset()) for model, columns in self.databases.models.columns.items()}

    def _performers(self, service: str, log: SimulatedLog) -> dict:
        performers = {
            **log_performers(log),
            **broker_performers(self.broker),
            **model_performers(self.model),
            Positions: self.store.positions,
            Save: self.store.save,
        }
        performers[Read] = self._heard(service, performers[Read], lambda batch: batch.records)
        performers[Recall] = self._heard(service, performers[Recall], lambda records: records)
        if self.switches.positions_first:
            performers[features.Commit] = positions_first(log)
        return {kind: self._reachable(kind, perform) for kind, perform in performers.items()}

    def _heard(self, service: str, perform: Callable, records: Callable) -> Callable:
        def heard(effect):
            answer = perform(effect)
            self.reads += [(service, record) for record in records(answer)]
            return answer

        return heard

    def _reachable(self, kind: type, perform: Callable) -> Callable:
        def answer(effect):
            if self.clock.ms < self._down.get(kind, 0):
                raise Transient(f"{kind.__name__}: what answers it is away")
            return perform(effect)

        return answer

    def _die(self, process: Process, how: str) -> None:
        self._say(f"{self._name(process)} dies: {how}")
        self._end(process)
        process.log.hang(self.clock.now_ms())
        if process.doomed_ms is None:
            delay = self.rng.choice((200, 2 * SECOND, 9 * SECOND)) if not self._calm else 200
            self._restarts.append((self.clock.ms + delay, process.service, process.instance))

    def _stop(self, process: Process) -> None:
        self._say(f"{self._name(process)} is stopped")
        self._end(process)
        process.log.close()

    def _end(self, process: Process) -> None:
        process.driver.close()
        self.processes.remove(process)
        if process.windows is not None:
            self.databases.give_back(process.windows)

    # What befalls them

    def _befall(self, happening: Happening) -> None:
        _, what, whom, for_ms = happening
        self._say(f"{what} {whom} {for_ms} ms")
        until = self.clock.ms + for_ms
        match what:
            case "model server down":
                self.model.down_until_ms = until
            case "model server slow":
                self.model.slow_until_ms = until
            case "new champion":
                self.model.promote()
            case "use case refused":
                self.model.break_down(whom, until)
            case "columns edited":
                self.model.want(whom, self.rng.choice(WANTED[whom]))
            case "column gone":
                self.model.want(whom, (*WANTED[whom][0], GONE))
            case "store down":
                self._down |= {Save: until, Positions: until}
            case "mqtt away":
                self.broker.away_until_ms = until
            case "kafka away":
                self._down |= {Read: until, Deliver: until, Recall: until}
            case "clock back":
                self.clock.skew_ms -= for_ms
            case "clock on":
                self.clock.skew_ms += for_ms
            case "rebalance":
                self.kafka.group(f"mliot-{whom}").rebalance()
            case "poison record":
                self._poison(whom)
            case "second instance":
                self._start(whom, "1")
                self.processes[-1].doomed_ms = until
            case _:
                self._hang(whom, for_ms, replaced=what == "replaced while it hangs")

    def _hang(self, service: str, for_ms: int, *, replaced: bool) -> None:
        for process in [each for each in self.processes if each.service == service and each.instance == "0" and not each.hung]:
            process.hung = True
            process.wake_ms = self.clock.ms + for_ms
            process.log.hang(self.clock.now_ms())
            if replaced and service != "bridge":  # as many processes of one instance as a careless supervisor starts
                process.doomed_ms = process.wake_ms + 3 * SECOND
                self._restarts.append((self.clock.ms + SECOND, service, "0"))
            return

    def _poison(self, topic: str) -> None:
        value = f"no message {len(self.foreign)}".encode()
        self.kafka.write(Partition(topic, self.rng.randrange(PARTITIONS)), Emit(topic, "room-1", value))
        self.foreign.append((topic, value))

    def _publish(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))
        self.published_ms.setdefault(payload, self.clock.now_ms())
        self.broker.offer(topic, payload)

    # The end

    def _cease(self) -> None:
        self._say("the faults cease")
        self._calm = True
        self.faults.cease()
        self._down.clear()
        self._happenings.clear()
        self.model.recover()
        self.broker.away_until_ms = 0
        self._rouse()

    def _rouse(self) -> None:
        for process in self.processes:
            process.idle = 0
            if not process.hung:
                process.wake_ms = self.clock.ms

    def _quiet(self) -> bool:
        """True where everybody has read in vain since the last record or marker was written, and nothing waits anywhere."""
        written = sum(log.end for log in self.kafka.logs.values())
        if written != self._written or not self.kafka.transactions.settled:
            self._written = written
            for process in self.processes:
                process.idle = 0
        return (
            not (self._restarts or self._messages or self.broker.unacknowledged or self.kafka.under_way)
            and self.fans.at_rest
            and all(process.idle > 2 and not process.hung and process.doomed_ms is None for process in self.processes)
        )

    def _name(self, process: Process) -> str:
        return f"{process.service}-{process.instance}"

    def _say(self, what: str) -> None:
        self.tell(f"{(self.clock.ms - START_MS) / 1000:8.3f} s  {what}")


def first_acknowledged(rows: int, decide: Callable) -> Iterator:
    """The bridge with its last two steps exchanged."""
    effects = bridge.bridge(rows, decide)
    answer = None
    while True:
        effect = effects.send(answer)
        if not isinstance(effect, Deliver):
            answer = yield effect
            continue
        acknowledge = effects.send(None)
        assert isinstance(acknowledge, Acknowledge)
        yield acknowledge
        yield effect
        answer = None


def positions_first(log: SimulatedLog) -> Callable:
    """A commit in two transactions: where reading goes on, and then the records."""

    def commit(effect):
        if effect.positions:
            log.commit(features.Commit(features.Outcome(effect.outcome.service, effect.outcome.now_ms), effect.positions))
        log.commit(features.Commit(effect.outcome, {}))

    return commit


@contextmanager
def silent_log() -> Iterator[None]:
    """The services' log says nothing: a world has thousands of waits and rewinds."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
