"""One fault brought about under load, and what came of it: by the ledger of what the broker acknowledged, and by ``mliot audit``."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from mliot.clock import Deadline, SystemClock
from mliot.frames import frame_id
from stack.status import survey
from tests.e2e.publisher import Publisher
from tests.e2e.stack import LOOK_EVERY_S, until
from tests.faults.catalogue import Fault
from tests.faults.said import WITHIN_S, Said, Watch
from tests.faults.site import SERVERS, SERVICES, Site

FLOWS_S = 3
"""Seconds' worth of frames before the fault."""
PATIENCE_S = 300.0
RECOVERED_S = 240.0
DRAINED_S = 240


@dataclass
class Row:
    """What is printed of a fault. ``broken`` says why it could not be judged."""

    fault: Fault
    frames: int = 0
    lost: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    said: Said | None = None
    recovery_s: float | None = None
    remarks: list[str] = field(default_factory=list)
    broken: str = ""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.foreign or self.broken) and self.in_time

    @property
    def in_time(self) -> bool:
        """False where ``mliot status`` took longer than it may to say that a part is away, or, of a server that stays away, a service."""
        if self.said is None:
            return True
        stays_away = self.fault.part in SERVERS and not self.fault.at_once
        owed = (self.said.status, self.said.metric, self.said.log) if stays_away else (self.said.status,)
        return all(seconds is not None and seconds <= WITHIN_S for seconds in owed)


class Judge:
    """Judges one fault after the other on one site. What was wrong after an earlier one is not held against a later one."""

    def __init__(self, site: Site, seconds_away: float, rate: int) -> None:
        self._site, self._seconds_away, self._rate = site, seconds_away, rate
        self._publishers: list[Publisher] = []
        self._known: set[str] = set()
        self._clock = SystemClock()

    def judge(self, fault: Fault) -> Row:
        """The fault under load, then everything accounted for."""
        row = Row(fault)
        try:
            until("every part is well", self._well, within_s=RECOVERED_S)
            name = f"faults-{len(self._publishers)}"
            with Publisher(self._site.direct, self._rate, name=name, patience_s=PATIENCE_S, clock_off_ms=fault.clock_off_ms) as publisher:
                self._publishers.append(publisher)
                until("frames flow", lambda: len(publisher.owed) >= self._rate * FLOWS_S, within_s=60)
                if fault.quiet:
                    publisher.pause()
                    until("everything is in the store", lambda: set(publisher.owed) <= self._with_feature(), within_s=DRAINED_S)
                over = self._bring_about(fault, row)
                publisher.go_on()
                row.recovery_s = self._recovered(publisher) - over
                if fault.quiet:
                    until("frames flow", lambda: len(publisher.owed) >= 2 * self._rate * FLOWS_S, within_s=60)
            row.frames = publisher.sent
            self._reconcile(row)
        except Exception as error:  # one fault that cannot be judged must not hide the others
            row.broken = f"{type(error).__name__}: {error}"
        return row

    def _bring_about(self, fault: Fault, row: Row) -> float:
        """Returns the moment at which the fault was over, and being mended began."""
        watch = Watch(self._site, fault.part) if fault.part else None
        with ExitStack() as exits:
            remarks = exits.enter_context(fault.away(self._site))
            if watch is not None:
                row.said = exits.enter_context(watch.watching())
            if not fault.at_once:
                time.sleep(max(self._seconds_away, fault.at_least_s))  # the fault lasts so long; nothing is waited for
            elif row.said is not None:
                self._until_said(row.said)
            over = self._clock.monotonic()
        row.remarks = remarks
        return over

    def _until_said(self, said: Said) -> None:
        """Also what is over at once must be seen, unless it is well again before anybody could look."""
        deadline = Deadline.after(self._clock, self._seconds_away)
        while said.status is None and not deadline.passed():
            time.sleep(LOOK_EVERY_S)  # between two looks at a condition that has a deadline

    def _recovered(self, publisher: Publisher) -> float:
        """The moment at which a frame that is published now has its feature row in the store, and every part is well."""
        fresh = publisher.one(f"fresh-{len(self._publishers)}")
        until("a fresh frame has its feature row in the store", lambda: self._stored(fresh), within_s=RECOVERED_S)
        until("every part is well", self._well, within_s=RECOVERED_S)
        return self._clock.monotonic()

    def _well(self) -> bool:
        states = {part.name: part.state for part in survey(self._site.services.settings)}
        return all(states[name] == "ok" for name in (*SERVERS, *SERVICES))

    def _reconcile(self, row: Row) -> None:
        wrong: dict[str, set[str]] = {"missing": set(), "twice": set(), "foreign": set()}
        if row.fault.keeps_log:
            for finding in self._site.audit(DRAINED_S)["findings"]:
                for how, found in wrong.items():
                    found |= {f"{finding['what']}: {id}" for id in finding[how]}
        else:
            newest = self._publishers[-1].owed
            until("every feature row is in the store", lambda: newest <= self._with_feature(), within_s=DRAINED_S)
        accounted = self._accounted()
        owed = set[str]().union(*(publisher.owed for publisher in self._publishers))
        issued = set[str]().union(*(publisher.issued for publisher in self._publishers))
        wrong["missing"] |= {f"ledger: {id}" for id in owed - accounted}
        wrong["foreign"] |= {f"ledger: {id}" for id in accounted - issued}
        row.lost, row.twice, row.foreign = (found - self._known for found in wrong.values())
        self._known |= row.lost | row.twice | row.foreign

    def _stored(self, identity: str) -> bool:
        try:
            return bool(self._asked("select id from mliot.feature where id = %s", f"sensor_frame:{identity}"))
        except psycopg.OperationalError:  # it is away still
            return False

    def _accounted(self) -> set[str]:
        """The ids of all frames in the store, and of those that are dead letters there. (Another way than the audit's.)"""
        refused = self._asked("select original from mliot.deadletter where service = 'bridge'")
        return {id for (id,) in self._asked("select id from mliot.frame")} | {_identity(original) for (original,) in refused}

    def _with_feature(self) -> set[str]:
        """The ids of the frames whose feature row is in the store."""
        return {id.removeprefix("sensor_frame:") for (id,) in self._asked("select id from mliot.feature where grain = 'sensor_frame'")}

    def _asked(self, statement: LiteralString, *values: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._site.direct.postgres_address, connect_timeout=3) as store:
            return store.execute(statement, values).fetchall()


def _identity(message: bytes) -> str:
    """The id that the device gave to the frame in ``message``."""
    body = json.loads(message)
    return frame_id(body["name"], body["payload"]["timestamp"], message)
