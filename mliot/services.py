"""What every running service shows of itself: its state, rate, lag, last error and counts, at ``/health`` and ``/metrics``.

The counts add up (``docs/service-contract.md``): read = used + rejected + held + duplicate + late + passed.
"""

import errno
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple
from wsgiref.simple_server import make_server

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mliot.clock import Clock, SystemClock
from mliot.errors import PortTaken
from mliot.listener import BoundedServer, QuietHandler
from mliot.settings import HOST, Settings
from mliot.web.guard import LOOPBACK, asked_of, foreign

SERVICES = ("bridge", "features", "inference", "online", "store", "commands", "fleet")
"""The services in the data's order; service number i answers on ``metrics_port + i``."""

State = Literal["starting", "ok", "waiting", "stalled", "stopping"]
RATE_OVER_S = 10
AHEAD_FOR_S = 600
"""How long a device is named whose clock was seen to run ahead."""
MAX_AHEAD = 1_000
TOLD_AHEAD = 20
"""Of the devices whose clocks run ahead, those furthest ahead are told."""
STALLED_S = 30.0
"""A service that is behind and gets no further for longer is not well, whatever its parts say."""
SLOW_S = 3.0
"""A part that is asked for longer is said to be away: with its connections open, one that hangs gives no other sign."""


def metrics_port(settings: Settings, service: str) -> int:
    """The loopback port on which ``service`` answers /health and /metrics."""
    return settings.metrics_port + SERVICES.index(service)


Notice = Callable[[], tuple[str, int] | None]
"""Answers what a person must know although the service works, and since when (ms); None where there is nothing."""


class Progress(NamedTuple):
    """When a service last got further, in seconds of a monotonic clock, and the least that it was behind since then (None: not known)."""

    at: float
    lag: int | None = None

    def after(self, now: float, *, lag: int | None, read: int = 0) -> "Progress":
        """It is ``lag`` records behind at ``now``, and ``read`` more are committed.

        It gets further where something was read, where nothing is left to read, or where less is left than ever since it last got further:
        reading the same records again and again is no progress.
        """
        if read or not lag or (self.lag is not None and lag < self.lag):
            return Progress(now, lag)
        return self if self.lag is not None else Progress(self.at, lag)

    def stalled(self, now: float, lag: int | None) -> str:
        """Says that it stands still and how far behind, where that has lasted longer than :data:`STALLED_S`; else ''."""
        stood_s = now - self.at
        if not lag or stood_s <= STALLED_S:
            return ""
        return f"stands still: nothing was read for {stood_s:.0f} s, {lag:,} {'record is' if lag == 1 else 'records are'} waiting"


def no_notice() -> None:
    """There is nothing to tell."""


class ServiceStatus:
    """What a service says of itself; one writer (its loop), read by the listener's threads. ``notice`` is asked whenever it is read."""

    def __init__(self, service: str, clock: Clock | None = None, notice: Notice = no_notice) -> None:
        self._notice = notice
        self.service = service
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._since_ms = self._clock.now_ms()
        self._state: State = "starting"
        self._counts: Counter[str] = Counter()
        self._marks: list[tuple[float, int]] = []
        self._lag: int | None = None
        self._progress = Progress(self._clock.monotonic())
        self._last_error = ""
        self._last_error_ms: int | None = None
        self._ahead: dict[str, tuple[int, float]] = {}
        self._asked: tuple[str, float] | None = None
        self._absent = ""
        self._problem = ""
        self._withheld: dict[str, str] = {}

    def asking(self, part: str) -> None:
        """``part`` is asked for something from now on, until :meth:`ok` or :meth:`waiting`."""
        with self._lock:
            self._asked = (part, self._clock.monotonic())

    def overdue(self) -> str | None:
        """Says, once, that the part that is being asked has not answered for :data:`SLOW_S`; None where there is nothing new to say."""
        with self._lock:
            if self._asked is None or self._clock.monotonic() - self._asked[1] < SLOW_S:
                return None
            why = f"{self._asked[0]} has not answered for {SLOW_S:g} s"
            self._wait(why)
            return why

    def ok(self) -> bool:
        """It works. Returns whether it was said to wait before."""
        return self._enter("ok") == "waiting"

    def stopping(self) -> None:
        self._enter("stopping")

    def waiting(self, why: str) -> None:
        """An external part is away: say which, and count it as an error of now."""
        with self._lock:
            self._wait(why)

    def absent(self, why: str) -> bool:
        """A part that is seldom asked would not answer now, and ``why``; empty once it would. Returns whether that is news."""
        with self._lock:
            news = bool(why) != bool(self._absent)
            self._absent = why
            if news and why:
                self._err(why)
            return news

    def problem(self, what: str) -> None:
        """It works, but ``what`` needs a look; empty once it does not."""
        with self._lock:
            if what and what != self._problem:
                self._err(what)
            self._problem = what

    def withheld(self, reasons: Mapping[str, str]) -> dict[str, str]:
        """What the service withholds from now on, and why, by subject. Returns each changed reason, empty where it is over."""
        with self._lock:
            subjects = {**self._withheld, **reasons}
            news = {subject: reasons.get(subject, "") for subject in subjects if self._withheld.get(subject) != reasons.get(subject)}
            self._withheld = dict(reasons)
            for subject, why in news.items():
                if why:
                    self._err(f"{subject}: {why}")
            return news

    def error(self, text: str) -> None:
        with self._lock:
            self._err(text)

    def count(self, counts: Mapping[str, int]) -> None:
        """Adds to the counts; ``read`` is what the rate is taken of."""
        with self._lock:
            self._counts.update(counts)
            now = self._clock.monotonic()
            self._marks = [mark for mark in self._marks if mark[0] > now - RATE_OVER_S]
            if counts.get("read"):
                self._marks.append((now, counts["read"]))
                self._progress = self._progress.after(now, lag=self._lag, read=counts["read"])

    def ahead(self, ahead_ms: Mapping[str, int]) -> None:
        """The clocks of these devices run ahead, by so many milliseconds. The newest :data:`MAX_AHEAD` are remembered for a while."""
        if not ahead_ms:
            return
        with self._lock:
            now = self._clock.monotonic()
            for device, ms in ahead_ms.items():
                self._ahead.pop(device, None)
                self._ahead[device] = (ms, now)
            for device in [*self._ahead][: max(0, len(self._ahead) - MAX_AHEAD)]:
                del self._ahead[device]

    def lag(self, records: int | None) -> None:
        """So many records are still to be read; None where that is not known."""
        with self._lock:
            self._lag = records
            self._progress = self._progress.after(self._clock.monotonic(), lag=records)

    def snapshot(self) -> dict[str, Any]:
        """The status as /health answers it."""
        notice, notice_ms = self._notice() or ("", None)
        with self._lock:
            now = self._clock.monotonic()
            read = sum(n for at, n in self._marks if at > now - RATE_OVER_S)
            recent = ((device, ms) for device, (ms, at) in self._ahead.items() if at > now - AHEAD_FOR_S)
            ahead = sorted(recent, key=lambda each: -each[1])
            waits_for, stalled = self._waits_for(), self._progress.stalled(now, self._lag)
            state = self._state
            if state == "ok":
                state = "waiting" if waits_for else "stalled" if stalled else "ok"
            return {
                "service": self.service,
                "state": state,
                "waits_for": waits_for,
                "stalled": stalled,
                "since_ms": self._since_ms,
                "rate_per_s": round(read / RATE_OVER_S, 2),
                "lag": self._lag,
                "last_error": self._last_error,
                "last_error_ms": self._last_error_ms,
                "remarks": [*_late(self._counts), *_ahead(ahead)],
                "ahead_ms": dict(ahead[:TOLD_AHEAD]),
                "withheld": dict(self._withheld),
                "notice": notice,
                "notice_ms": notice_ms,
                "counts": dict(self._counts),
            }

    def collect(self) -> Iterable[Metric]:
        """The status in Prometheus' terms."""
        now = self.snapshot()
        labels = [self.service]
        counts = CounterMetricFamily("mliot_records", "records by what became of them", labels=["service", "outcome"])
        for outcome, count in now["counts"].items():
            counts.add_metric([self.service, outcome], count)
        yield counts
        for name, about, value in (
            ("mliot_up", "1 while the service works, 0 while it waits for another part or stands still", float(now["state"] == "ok")),
            ("mliot_notice", "1 while a person must know something although the service works", float(bool(now["notice"]))),
            ("mliot_lag_records", "records not yet read; none where that is not known", now["lag"]),
            ("mliot_rate_per_second", f"records read a second over {RATE_OVER_S} s", now["rate_per_s"]),
        ):
            if value is None:
                continue
            gauge = GaugeMetricFamily(name, about, labels=["service"])
            gauge.add_metric(labels, value)
            yield gauge

    def _enter(self, state: State) -> State:
        with self._lock:
            before, self._state, self._asked = self._state, state, None
            return before

    def _waits_for(self) -> str:
        """What it cannot do now, and why; empty where it can do everything."""
        if self._state == "waiting":
            return self._last_error
        return self._absent or self._problem or "; ".join(f"{subject}: {why}" for subject, why in self._withheld.items())

    def _wait(self, why: str) -> None:
        self._state, self._asked = "waiting", None
        self._err(why)

    def _err(self, text: str) -> None:
        self._last_error, self._last_error_ms = text, self._clock.now_ms()
        self._counts["errors"] += 1


def _late(counts: Mapping[str, int]) -> Iterable[str]:
    """The share of frames that came after a window of theirs had closed."""
    late = counts.get("late", 0) + counts.get("late_for_shortest", 0)
    if late:
        yield f"{late / (counts.get('used', 0) + counts.get('late', 0)):.2%} of the frames came late for a window ({late:,})"


def _ahead(furthest_first: Sequence[tuple[str, int]]) -> Iterable[str]:
    if furthest_first:
        device, ms = furthest_first[0]
        others = len(furthest_first) - 1
        more = f", {others} more {'devices are' if others > 1 else 'device is'} ahead too" if others else ""
        yield f"the clock of {device} is {ms / 1000:,.0f} s ahead{more}"


@contextmanager
def listening(status: ServiceStatus, settings: Settings) -> Any:
    """Answers /health and /metrics on loopback while the block runs. Raises :class:`PortTaken` naming the setting."""
    port = metrics_port(settings, status.service)
    registry = CollectorRegistry()
    registry.register(status)
    metrics = make_wsgi_app(registry)
    hosts = LOOPBACK.union(settings.host_names)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if refusal := foreign(asked_of(environ), hosts):
            start(f"{refusal.status.value} {refusal.status.phrase}", [("Content-Type", "text/plain")])
            return [refusal.error.encode()]
        if environ["PATH_INFO"] == "/health":
            body = msgspec.json.encode(status.snapshot())
            start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        return metrics(environ, start)  # type: ignore[no-any-return]

    try:
        server = make_server(HOST, port, answer, BoundedServer, QuietHandler)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTaken(f"port {port} (health of {status.service}) is taken; move it with MLIOT_METRICS_PORT") from error
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
