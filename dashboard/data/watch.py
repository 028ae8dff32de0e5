"""The one poll that all viewers share: it reads store and services while somebody looks, and hands every viewer the same snapshot."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from dashboard.data import queries
from dashboard.data.peers import Peers
from dashboard.data.plan import lines, pairs
from dashboard.data.queries import Connection
from dashboard.data.rows import Peer, Snapshot, StoreRows
from dashboard.data.storelink import StoreLink
from learning.monitoring.reports import Reports
from mliot.clock import Clock
from mliot.errors import Transient
from mliot.grains import Grains
from mliot.measurements import Measurement
from mliot.usecase import UseCase

Viewer = Callable[[Snapshot], None]

EVERY_S = 1.0
PEERS_EVERY_S = 3.0
HISTORY_EVERY_S = 5.0
SLOW_EVERY_S = 15.0
MIN_REST_S = 0.05
REST_TIMES = 4
"""A poll rests so many times as long as it took: a full store gives it no more than a fifth of its time."""
FRESH_MS = 3000
"""A page that is opened shows what was read so lately, and gets the next pass as soon as it is there."""
MAX_REST_S = 5.0
"""But no longer: a store that was away is to be seen again."""


@dataclass
class Due:
    """When something that is not read on every pass is read next, on the clock's monotonic seconds."""

    every_s: float
    at: float = 0.0

    def now(self, clock: Clock) -> bool:
        """True once in every ``every_s`` seconds."""
        if clock.monotonic() < self.at:
            return False
        self.at = clock.monotonic() + self.every_s
        return True


class StoreReader:
    """Reads the store in passes: what must be live on each, history and scores less often."""

    def __init__(self, use_cases: Mapping[str, UseCase], measurements: Mapping[str, Measurement], grains: Grains, clock: Clock) -> None:
        self._use_cases = use_cases
        self._measurements = measurements
        self._grains = grains
        self._clock = clock
        self._history = Due(HISTORY_EVERY_S)
        self._slow = Due(SLOW_EVERY_S)
        self._rows = StoreRows()

    async def read(self, store: Connection) -> StoreRows:
        """Everything, of which the slower parts may be from an earlier pass."""
        now_ms = self._clock.now_ms()
        readings = await queries.readings(store, self._measurements)
        shown = pairs(self._use_cases, self._grains, readings, now_ms)
        self._rows = replace(
            self._rows,
            readings=readings,
            places=readings[0].places if readings else 0,
            newest=await queries.newest_answers(store, shown),
            commands=await queries.commands(store, sorted({r.place_id for r in readings})),
        )
        if self._history.now(self._clock):
            self._rows = replace(
                self._rows,
                history=await queries.history(store, shown),
                points=await queries.points(store, lines(self._use_cases, self._measurements, self._grains, readings, now_ms)),
                parity=await queries.parity(store),
            )
        if self._slow.now(self._clock):
            self._rows = replace(
                self._rows,
                intervals=await queries.intervals(store, [reading.device for reading in readings]),
                refusals=await queries.refusals(store, now_ms),
                unknown=await queries.unknown(store, self._measurements, now_ms),
                champion_scored={name: await queries.scored(store, name, now_ms, shadow=False) for name in self._use_cases},
                shadow_scored={name: await queries.scored(store, name, now_ms, shadow=True) for name in self._use_cases},
            )
        return self._rows

    def forget_times(self) -> None:
        """The next pass reads everything."""
        self._history.at = self._slow.at = 0.0


class Watch:
    """Runs the polls and keeps the newest snapshot. Nothing is asked of anybody while nobody looks."""

    def __init__(
        self, reader: StoreReader, link: StoreLink, peers: Peers, reports: Reports, clock: Clock, *, disk_problem: Callable[[], str]
    ) -> None:
        self._reader = reader
        self._link = link
        self._peers = peers
        self._reports = reports
        self._disk_problem = disk_problem
        self._clock = clock
        self._viewers: dict[str, Viewer] = {}
        self._store_wanted = asyncio.Event()
        self._peers_wanted = asyncio.Event()
        self._read = asyncio.Event()
        self._peers_slow = Due(SLOW_EVERY_S)
        self.snapshot = Snapshot(clock.now_ms())

    async def run(self) -> None:
        """Polls until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._while_wanted(self._store_wanted, self._read_store, EVERY_S))
                group.create_task(self._while_wanted(self._peers_wanted, self._ask_peers, PEERS_EVERY_S))
        finally:
            await self._link.close()
            await self._peers.close()

    def watch(self, viewer_id: str, show: Viewer) -> None:
        """``show`` gets every snapshot from now on, until :meth:`leave`."""
        self._viewers[viewer_id] = show
        self._want()

    def leave(self, viewer_id: str) -> None:
        """Ends it; the polls end by themselves after the last one has left."""
        self._viewers.pop(viewer_id, None)

    async def fresh(self, within_s: float) -> Snapshot:
        """The newest snapshot while somebody looks, or where it is newer than :data:`FRESH_MS`, else that of the next pass.

        Where the pass takes longer than ``within_s``, the last one, which tells its age.
        """
        read_ms = self.snapshot.read_ms
        if read_ms and (self._viewers or self._clock.now_ms() - read_ms < FRESH_MS):
            return self.snapshot
        self._read.clear()
        self._want()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._read.wait(), within_s)
        return self.snapshot

    def _want(self) -> None:
        self._store_wanted.set()
        self._peers_wanted.set()

    async def _while_wanted(self, wanted: asyncio.Event, act: Callable[[], Awaitable[None]], every_s: float) -> None:
        """One pass for every time that it is ``wanted``, and one every ``every_s`` seconds as long as somebody looks."""
        while True:
            await wanted.wait()
            wanted.clear()
            started = self._clock.monotonic()
            await act()
            took_s = self._clock.monotonic() - started
            self._publish()
            if self._viewers:
                wanted.set()
            await asyncio.sleep(max(MIN_REST_S, min(MAX_REST_S, REST_TIMES * took_s), started + every_s - self._clock.monotonic()))

    async def _read_store(self) -> None:
        now = self._clock.now_ms
        try:
            rows = await self._link.lend(self._reader.read)
            self.snapshot = replace(self.snapshot, now_ms=now(), store=rows, read_ms=now(), away="", away_since_ms=None)
        except Transient as error:
            self._reader.forget_times()
            since_ms = self.snapshot.away_since_ms or now()
            self.snapshot = replace(self.snapshot, now_ms=now(), away=str(error), away_since_ms=since_ms)
        self._read.set()

    async def _ask_peers(self) -> None:
        services = await self._peers.services()
        self.snapshot = replace(self.snapshot, services=services, disk=self._disk_problem())
        if not self._peers_slow.now(self._clock):
            return
        kept = asyncio.to_thread(self._reports.kept)
        models, dagster, reports = await asyncio.gather(self._peers.models(), self._peers.dagster_answers(), kept)
        now_ms = self._clock.now_ms()
        self.snapshot = replace(
            self.snapshot,
            models=models if models is not None else self.snapshot.models,
            endpoint=_seen(self.snapshot.endpoint, models is not None, now_ms),
            dagster=_seen(self.snapshot.dagster, dagster, now_ms),
            reports={use_case: found[0] for use_case, found in reports.items()},
        )

    def _publish(self) -> None:
        for viewer_id, show in list(self._viewers.items()):
            try:
                show(self.snapshot)
            except Exception:
                # one viewer's page must not stop the others'; its own socket tells it when it is gone
                structlog.get_logger().exception("a page could not be updated", viewer=viewer_id)
                self.leave(viewer_id)


def _seen(before: Peer | None, answers: bool, now_ms: int) -> Peer:
    return before if before is not None and before.answers == answers else Peer(answers, now_ms)
