"""Log lines: structured, one event each; readable on a terminal, JSON everywhere else."""

import logging
import sys

import structlog

from mliot.settings import Settings


def configure(settings: Settings, service: str) -> None:
    """Sets up structlog for this process: level and shape by the settings, every line named after ``service``.

    Lines go to standard error. Settings are never logged whole: some of them are secrets.
    """
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
