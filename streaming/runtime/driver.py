"""The driver: performs a service's effects one by one, and is the only place that knows what a failure means.

retry (Transient): the same effect again, with growing pauses, while status and log say what is waited for.
rewind (Rewound): the generator is closed and a new one starts from what was committed.
anything else ends the process; its supervisor starts it again.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import structlog

from mliot.errors import Transient
from mliot.services import ServiceStatus
from streaming.runtime.effects import (
    Acknowledge,
    Broker,
    Champions,
    Commit,
    Deliver,
    Effect,
    Effects,
    Log,
    ModelServer,
    Open,
    Outcome,
    Positions,
    Publish,
    Read,
    Recall,
    Receive,
    Rewound,
    Save,
    Score,
    Seek,
    Service,
)

PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)
LOOK_EVERY_S = 0.5
PROBE_EVERY_S = 1.0
PARTS: Mapping[type, str] = {
    **dict.fromkeys((Open, Seek, Read, Recall, Commit, Deliver), "Kafka"),
    **dict.fromkeys((Receive, Acknowledge, Publish), "MQTT broker"),
    **dict.fromkeys((Champions, Score), "model server"),
    **dict.fromkeys((Positions, Save), "PostgreSQL"),
}
"""Who performs an effect."""
Performers = dict[type, Callable[[Any], Any]]
log = structlog.get_logger()


def log_performers(port: Log) -> Performers:
    return {
        Open: port.open,
        Seek: port.seek,
        Read: port.read,
        Recall: port.recall,
        Commit: port.commit,
        Deliver: port.deliver,
    }


def broker_performers(port: Broker) -> Performers:
    return {Receive: port.receive, Acknowledge: port.acknowledge, Publish: port.publish}


def model_performers(port: ModelServer) -> Performers:
    return {Champions: port.champions, Score: port.score}


class Driver:
    """Runs one service, an effect a step: a scheduler may put several of them, or a crash, between any two."""

    def __init__(
        self,
        service: Service,
        performers: Performers,
        *,
        status: ServiceStatus,
        idle: Callable[[float], object],
        lag: Callable[[], int | None] = lambda: 0,
    ) -> None:
        self._service, self._performers, self._status, self._idle, self._lag = service, performers, status, idle, lag
        self._effects: Effects | None = None
        self._effect: Effect | None = None
        self._tries = 0

    def step(self) -> float:
        """Tries one effect. Answers the seconds to :meth:`wait` before it is tried again, 0 where the service went on."""
        try:
            if self._effects is None:
                self._effects = self._service()
                self._effect = next(self._effects)
            return self._try(self._effects, self._effect)
        except Rewound as reason:
            self._rewind(reason)
            return 0.0

    def wait(self, seconds: float) -> None:
        """Waits between two tries, and keeps connections alive."""
        try:
            self._idle(seconds)
        except Rewound as reason:
            self._rewind(reason)

    def close(self) -> None:
        """Lets go of the service wherever it stands; what it did not commit is left to the next reader."""
        if self._effects is not None:
            self._effects.close()
        self._effects, self._effect, self._tries = None, None, 0

    def _try(self, effects: Effects, effect: Any) -> float:
        self._status.asking(PARTS[type(effect)])
        try:
            answer = self._performers[type(effect)](effect)
        except Transient as reason:
            if self._tries == 0:
                log.warning("waiting", service=self._status.service, effect=type(effect).__name__, reason=str(reason))
            self._status.waiting(str(reason))
            self._status.lag(self._lag())
            self._tries += 1
            return PAUSES_S[min(self._tries, len(PAUSES_S)) - 1]
        if self._status.ok():
            log.info("going on", service=self._status.service, effect=type(effect).__name__, tries=self._tries)
        self._tries = 0
        _account(effect, self._status, self._lag)
        self._effect = effects.send(answer)
        return 0.0

    def _rewind(self, reason: Rewound) -> None:
        self.close()
        log.warning("rewound", service=self._status.service, reason=str(reason))
        self._status.error(f"rewound: {reason}")
        self._status.count({"rewinds": 1})
        self._status.problem("")  # it says so again where it finds it again


def drive(
    service: Service,
    performers: Performers,
    *,
    status: ServiceStatus,
    stopped: Callable[[], bool],
    idle: Callable[[float], object],
    lag: Callable[[], int | None] = lambda: 0,
) -> None:
    """Runs ``service`` until ``stopped``; returns with everything committed or, uncommitted, left to the next reader.

    ``idle(seconds)`` waits between retries and keeps connections alive; it may raise :class:`Rewound`.
    """
    with closing(Driver(service, performers, status=status, idle=idle, lag=lag)) as driver:
        while not stopped():
            pause_s = driver.step()
            if pause_s and not stopped():
                driver.wait(pause_s)
    status.stopping()


@contextmanager
def watched(status: ServiceStatus) -> Iterator[None]:
    """While the block runs, says of a part that hangs, so that the effect neither succeeds nor fails, that it is waited for."""

    def look() -> None:
        if why := status.overdue():
            log.warning("waiting", service=status.service, reason=why)

    with _every(LOOK_EVERY_S, look):
        yield


@contextmanager
def probed(status: ServiceStatus, probe: Callable[[], str]) -> Iterator[None]:
    """While the block runs, says of a part that is asked too seldom for its absence to be noticed whether it would answer.

    ``probe()`` answers why it would not, or nothing, within :data:`mliot.services.SLOW_S`.
    """

    def look() -> None:
        why = probe()
        if status.absent(why):
            if why:
                log.warning("waiting", service=status.service, reason=why)
            else:
                log.info("going on", service=status.service)

    with _every(PROBE_EVERY_S, look):
        yield


@contextmanager
def _every(seconds: float, look: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def until_over() -> None:
        while not over.wait(seconds):
            look()

    thread = threading.Thread(target=until_over, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _account(effect: Effect, status: ServiceStatus, lag: Callable[[], int | None]) -> None:
    if isinstance(effect, Commit | Deliver):
        status.count(effect.outcome.counts)
        status.ahead(effect.outcome.ahead_ms)
        status.problem(effect.outcome.problem)
        _tell(status, effect.outcome)
    elif isinstance(effect, Save):
        status.count({"read": effect.read, "used": effect.read - effect.rejected, "rejected": effect.rejected})
    elif isinstance(effect, Read | Receive):
        status.lag(lag())


def _tell(status: ServiceStatus, outcome: Outcome) -> None:
    if outcome.withheld is None:
        return
    for subject, why in status.withheld(outcome.withheld).items():
        if why:
            log.warning("withheld", service=status.service, subject=subject, reason=why)
        else:
            log.info("no longer withheld", service=status.service, subject=subject)


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the handlers in place before come back afterwards."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
