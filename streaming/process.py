"""From a module to a process: settings, log, signals, health listener, and errors for people as one line."""

import gc
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from mliot.errors import Fatal, UserError
from mliot.logs import configure
from mliot.services import Notice, ServiceStatus, listening, no_notice
from mliot.settings import Settings
from streaming.kafka.client import KafkaSettings
from streaming.kafka.log import KafkaLog
from streaming.runtime.driver import Performers, drive, log_performers, probed, until_signalled, watched
from streaming.runtime.effects import Service

STOPPED_SHORT = 70
"""EX_SOFTWARE of sysexits.h."""
COLLECT_AFTER = 100_000
"""Objects that outlive their making before the cyclic collector looks at them, 700 by default: more than a batch has."""


def main(run: Callable[[Settings], None], name: str) -> None:
    """Reads the settings and runs; a :class:`UserError` ends with one line and its exit code, anything else with a traceback.

    After a :class:`Fatal` the process ends at once: a client that hangs in foreign code would keep it from ending otherwise.
    """
    try:
        settings = Settings.read()
        configure(settings, service=name)
        run(settings)
    except UserError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(error.exit_code)
    except Fatal:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(STOPPED_SHORT)


def serve(
    settings: Settings,
    name: str,
    service: Service,
    performers: Mapping[type, Callable[[Any], Any]] | None = None,
    *,
    reads_only: bool = False,
    probe: Callable[[], str] | None = None,
    notice: Notice = no_notice,
    lag: Callable[[], int | None] | None = None,
) -> None:
    """Runs ``service`` on the real Kafka until the process is told to stop; ``performers`` are those of its other ports.

    ``reads_only``: its positions are kept elsewhere than in Kafka. ``probe``: see :func:`streaming.runtime.driver.probed`.
    ``notice``: see :class:`mliot.services.ServiceStatus`.
    ``lag`` says how far behind it is where it reads something else than Kafka.
    """
    collect_seldom()
    status = ServiceStatus(name, notice=notice)
    with (
        until_signalled() as stop,
        listening(status, settings),
        watched(status),
        probed(status, probe) if probe else nullcontext(),
        KafkaLog(KafkaSettings.of(settings, name), reads_only=reads_only) as log,
    ):
        everything: Performers = {**log_performers(log), **(performers or {})}
        drive(service, everything, status=status, stopped=stop.is_set, idle=log.idle, lag=lag or log.lag)


def collect_seldom() -> None:
    """A batch is thousands of records that live and die together, without cycles. The collector would look through them, and through all
    that was imported, dozens of times a batch to find that out."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
