"""The driver: performs a service's effects one by one, and is the only place that knows what a failure means.

retry (Transient): the same effect again, with growing pauses, while status and log say what is waited for.
rewind (Rewound): the generator is closed and a new one starts from what was committed.
anything else ends the process; its supervisor starts it again.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import structlog

from mliot.errors import Transient
from mliot.services import ServiceStatus
from streaming.ports import (
    Acknowledge,
    Broker,
    Commit,
    Deliver,
    Effect,
    Log,
    Open,
    Publish,
    Read,
    Recall,
    Receive,
    Rewound,
    Save,
    Seek,
    Service,
)

PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)
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


def drive(
    service: Service,
    performers: Performers,
    *,
    status: ServiceStatus,
    stopped: Callable[[], bool],
    idle: Callable[[float], object],
    lag: Callable[[], int] = lambda: 0,
) -> None:
    """Runs ``service`` until ``stopped``; returns with everything committed or, uncommitted, left to the next reader.

    ``idle(seconds)`` waits between retries and keeps connections alive; it may raise :class:`Rewound`.
    """
    while not stopped():
        try:
            with closing(service()) as effects:
                effect = next(effects)
                while not stopped():
                    answer = _perform(effect, performers, status, stopped=stopped, idle=idle, lag=lag)
                    _account(effect, status, lag)
                    effect = effects.send(answer)
        except Rewound as reason:
            log.warning("rewound", service=status.service, reason=str(reason))
            status.error(f"rewound: {reason}")
            status.count({"rewinds": 1})
        except _Stopped:
            break
    status.stopping()


class _Stopped(Exception):
    """A stop was asked for while an effect was waiting to be retried."""


def _perform(
    effect: Effect,
    performers: Performers,
    status: ServiceStatus,
    *,
    stopped: Callable[[], bool],
    idle: Callable[[float], object],
    lag: Callable[[], int],
) -> Any:
    tries = 0
    while True:
        try:
            answer = performers[type(effect)](effect)
        except Transient as reason:
            if tries == 0:
                log.warning("waiting", service=status.service, effect=type(effect).__name__, reason=str(reason))
            status.waiting(str(reason))
            status.lag(lag())
            if stopped():
                raise _Stopped from reason
            idle(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1
        else:
            if tries:
                log.info("going on", service=status.service, effect=type(effect).__name__, tries=tries)
            status.ok()
            return answer


def _account(effect: Effect, status: ServiceStatus, lag: Callable[[], int]) -> None:
    if isinstance(effect, Commit | Deliver):
        status.count(effect.outcome.counts)
    elif isinstance(effect, Save):
        status.count({"read": effect.read, "used": effect.read})
    elif isinstance(effect, Read):
        status.lag(lag())


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
