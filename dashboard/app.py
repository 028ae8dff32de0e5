"""The web app: wires the poll to the pages and serves them."""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog
from nicegui import app, ui

from dashboard.data.peers import Peers
from dashboard.data.rows import Snapshot
from dashboard.data.searching import Found, find_names
from dashboard.data.storelink import StoreLink
from dashboard.data.watch import StoreReader, Watch
from dashboard.page.chain import NOTHING, TracePage
from dashboard.page.overview import OverviewPage
from dashboard.page.reports import reports_page
from dashboard.page.search import search_page
from dashboard.page.shell import FAVICON, SEARCH_PATH, TITLE, add_shared_head, shell
from dashboard.page.tracing import Traced, read_trace
from dashboard.reports import add_report_route
from dashboard.view.overview import overview
from dashboard.view.places import Known
from dashboard.view.reports import reports_views
from learning.monitoring.reports import URL_PATH, Reports
from mliot.clock import Clock, SystemClock, clock_time
from mliot.errors import Transient
from mliot.grains import Grains
from mliot.measurements import load_measurements
from mliot.settings import HOST, Settings
from mliot.space import space
from mliot.web.guard import Guard
from mliot.web.patience import PatientHTTP
from usecases import load_use_cases
from warehouse.dbt import feature_models

FIRST_READ_S = 1.5
"""How long a page waits for fresh rows before it shows what is known."""
GONE_S = 10.0
"""How long a viewer that lost its connection may take to come back to the same page."""
TRACE_S = 15.0
"""How long a chain may take: longer than a connection attempt to a store that does not answer."""
GROWS_EVERY_S = 2.0
"""How often a chain that awaits something is read again."""
GROWS_FOR_S = 15 * 60.0
"""For how long: after that a person asks again."""


HEALTH_PATH = "/health"


def health() -> dict[str, str]:
    """That this process answers; it asks nobody, so that it costs the same whatever the store holds. The page says what is away."""
    return {"service": "dashboard", "state": "ok"}


class Dashboard:
    """The pages over one shared poll."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._known = Known(
            load_use_cases(settings.usecases), load_measurements(settings.measurements), Grains.of(feature_models(settings))
        )
        reader = StoreReader(self._known.use_cases, self._known.measurements, self._known.grains, self._clock)
        self._reports = Reports(settings.reports_path)
        self._watch = Watch(
            reader, StoreLink(settings), Peers(settings), self._reports, self._clock, disk_problem=partial(_disk_problem, settings.home)
        )
        self._polling: asyncio.Task[None] | None = None

    def serve(self) -> None:
        """Serves on the loopback port of the settings until a signal ends it."""
        os.environ.pop("PYTEST_CURRENT_TEST", None)  # a test run hands it down to every process, and NiceGUI would take itself for a test
        add_shared_head()
        ui.page("/", title=TITLE)(self._overview_page())
        ui.page("/trace/{id:path}", title=f"{TITLE} trace", response_timeout=TRACE_S)(self._trace_page())
        ui.page(URL_PATH, title=f"{TITLE} drift reports")(self._reports_page())
        ui.page(SEARCH_PATH, title=f"{TITLE} search", response_timeout=TRACE_S)(self._search_page())
        add_report_route(app, self._reports)
        app.get(HEALTH_PATH)(health)
        app.add_middleware(Guard, hosts=self._settings.host_names)
        app.on_startup(self._start)
        app.on_shutdown(self._stop)
        ui.run(
            host=HOST,
            port=self._settings.dashboard_port,
            title=TITLE,
            favicon=FAVICON,
            dark=False,  # the stylesheet follows the system by itself
            language="en-US",
            reload=False,
            show=False,
            tailwind=False,
            binding_refresh_interval=None,
            reconnect_timeout=GONE_S,
            show_welcome_message=False,
            access_log=False,
            http=PatientHTTP,
        )

    def _overview_page(self) -> Callable[..., object]:
        async def page() -> None:
            snapshot = await self._watch.fresh(FIRST_READ_S)
            with shell(self._settings, self._clock.now_ms()) as status:
                shown = OverviewPage(status, overview(snapshot, self._known))
            client = ui.context.client

            def show(snapshot: Snapshot) -> None:
                with client:
                    shown.show(overview(snapshot, self._known))

            client.on_connect(lambda: self._watch.watch(client.id, show))
            client.on_disconnect(lambda: self._watch.leave(client.id))
            client.on_delete(lambda: self._watch.leave(client.id))

        return page

    def _trace_page(self) -> Callable[..., object]:
        async def page(id: str) -> None:
            ends = self._clock.monotonic() + GROWS_FOR_S
            with shell(self._settings, self._clock.now_ms()):
                shown = TracePage(id)

            async def read() -> bool:
                """Shows the chain as it stands; answers whether it will grow and is to be read again."""
                now_ms = self._clock.now_ms()
                found = await asyncio.to_thread(self._traced, id, now_ms)
                followed = (isinstance(found, str) or found.growing) and self._clock.monotonic() < ends
                shown.show(found, clock_time(now_ms), followed=followed)
                return followed

            async def read_again() -> None:
                if not await read():
                    timer.cancel()

            if await read():
                timer = ui.timer(GROWS_EVERY_S, read_again, immediate=False)

        return page

    def _traced(self, id: str, now_ms: int) -> Traced | str:
        """The chain, or why there is none."""
        try:
            return read_trace(self._settings, self._known.use_cases, self._known.grains, id, now_ms) or NOTHING
        except Transient as error:
            return str(error)

    def _reports_page(self) -> Callable[..., object]:
        async def page() -> None:
            kept = await asyncio.to_thread(self._reports.kept)
            with shell(self._settings, self._clock.now_ms()):
                reports_page(reports_views(kept, self._known.use_cases))

        return page

    def _search_page(self) -> Callable[..., object]:
        async def page(name: str = "") -> None:
            found = await asyncio.to_thread(self._found, name)
            with shell(self._settings, self._clock.now_ms()):
                search_page(name, found)

        return page

    def _found(self, name: str) -> Sequence[Found] | str:
        """The devices and places whose name holds ``name``, or why nobody knows."""
        try:
            return find_names(self._settings, name)
        except Transient as error:
            return str(error)

    def _start(self) -> None:
        self._polling = asyncio.create_task(self._watch.run())
        self._polling.add_done_callback(_end_if_failed)

    async def _stop(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])


def _disk_problem(home: Path) -> str:
    """Why the disk of the stack's home needs a look; empty where there is no stack on this machine."""
    return space(home).problem if home.exists() else ""


def _end_if_failed(polling: asyncio.Task[None]) -> None:
    """A poll that broke would leave a page that looks alive: the process ends, and its supervisor starts a new one."""
    if not polling.cancelled() and polling.exception() is not None:
        structlog.get_logger().error("the poll failed", exc_info=polling.exception())
        app.shutdown()
