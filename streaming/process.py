"""From a module to a process: settings, log, signals, health listener, and errors for people as one line."""

import sys
from collections.abc import Callable

from mliot.errors import UserError
from mliot.logs import configure
from mliot.settings import Settings


def main(run: Callable[[Settings], None], name: str) -> None:
    """Reads the settings and runs; a :class:`UserError` ends with one line and its exit code, anything else with a traceback."""
    try:
        settings = Settings.read()
        configure(settings, service=name)
        run(settings)
    except UserError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(error.exit_code)
