"""The shared poll: silent while nobody looks, the same for all who do, and it goes on while the store is away."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest

from dashboard.data import watch as module
from dashboard.data.rows import Health, Snapshot, StoreRows
from dashboard.data.watch import Watch
from learning.monitoring.reports import Report
from mliot.clock import SystemClock
from mliot.errors import Transient

ROWS = StoreRows(places=1)


class Link:
    """Counts the passes; away while ``away`` says why."""

    def __init__(self) -> None:
        self.passes = 0
        self.away = ""

    async def lend(self, read: object) -> StoreRows:
        self.passes += 1
        if self.away:
            raise Transient(self.away)
        return ROWS

    async def close(self) -> None:
        pass


class Reader:
    async def read(self, store: object) -> StoreRows:
        return ROWS

    def forget_times(self) -> None:
        pass


class Peers:
    async def services(self) -> tuple[Health, ...]:
        return (Health("bridge", "ok"),)

    async def models(self) -> None:
        return None

    async def dagster_answers(self) -> bool:
        return True

    async def close(self) -> None:
        pass


class Kept:
    """Two reports of one use case, newest first."""

    def kept(self) -> dict[str, list[Report]]:
        return {"pump": [Report("pump", "new", 2), Report("pump", "old", 1)]}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    monkeypatch.setattr(module, "PEERS_EVERY_S", 0.01)


def polled(scenario: Callable[[Watch, Link], Coroutine[object, object, None]]) -> None:
    async def whole() -> None:
        link = Link()
        watch = Watch(Reader(), link, Peers(), Kept(), SystemClock(), disk_problem=lambda: "the disk is full")
        polling = asyncio.create_task(watch.run())
        try:
            await scenario(watch, link)
        finally:
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling

    asyncio.run(whole())


def test_nothing_is_read_while_nobody_looks() -> None:
    async def scenario(watch: Watch, link: Link) -> None:
        await asyncio.sleep(0.2)
        assert link.passes == 0
        assert (await watch.fresh(5)).store == ROWS
        passes = link.passes
        await asyncio.sleep(0.3)
        assert link.passes <= passes + 1
        watch.watch("a", lambda snapshot: None)
        await until(lambda: link.passes > passes + 3)
        watch.leave("a")
        passes = link.passes
        await asyncio.sleep(0.3)
        assert link.passes <= passes + 1

    polled(scenario)


def test_all_viewers_get_the_same_snapshot_and_share_one_pass() -> None:
    async def scenario(watch: Watch, link: Link) -> None:
        first: list[Snapshot] = []
        second: list[Snapshot] = []
        watch.watch("a", first.append)
        watch.watch("b", second.append)
        await until(lambda: len(first) > 3)
        assert [id(s) for s in first] == [id(s) for s in second]

    polled(scenario)


def test_pages_that_are_opened_one_after_the_other_share_one_pass() -> None:
    async def scenario(watch: Watch, link: Link) -> None:
        for _ in range(5):
            assert (await watch.fresh(5)).store == ROWS
        assert link.passes == 1

    polled(scenario)


def test_while_the_store_is_away_the_last_rows_stay_and_say_so_and_then_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_MS", 0)

    async def scenario(watch: Watch, link: Link) -> None:
        before = await watch.fresh(5)
        link.away = "refused"
        away = await watch.fresh(5)
        again = await watch.fresh(5)
        assert (away.store, away.read_ms, away.away) == (ROWS, before.read_ms, "refused")
        assert again.away_since_ms == away.away_since_ms
        link.away = ""
        back = await watch.fresh(5)
        assert (back.away, back.away_since_ms) == ("", None)
        assert back.read_ms is not None
        assert back.read_ms >= (before.read_ms or 0)

    polled(scenario)


def test_the_newest_report_of_each_use_case_is_told() -> None:
    async def scenario(watch: Watch, link: Link) -> None:
        watch.watch("a", lambda snapshot: None)
        await until(lambda: bool(watch.snapshot.reports))
        assert watch.snapshot.reports == {"pump": Report("pump", "new", 2)}

    polled(scenario)


def test_a_page_that_cannot_be_updated_does_not_stop_the_others() -> None:
    async def scenario(watch: Watch, link: Link) -> None:
        def breaks(snapshot: Snapshot) -> None:
            raise RuntimeError("gone")

        seen: list[Snapshot] = []
        watch.watch("broken", breaks)
        watch.watch("whole", seen.append)
        await until(lambda: len(seen) > 3)

    polled(scenario)


def test_a_store_that_does_not_answer_in_time_leaves_the_last_snapshot() -> None:
    async def scenario(watch: Watch, link: Link) -> None:
        stuck = asyncio.Event()

        async def lend(read: object) -> StoreRows:
            await stuck.wait()
            return ROWS

        link.lend = lend
        assert (await watch.fresh(0.05)).store is None

    polled(scenario)
