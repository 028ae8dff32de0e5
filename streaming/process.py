"""From a module to a process: settings, log, signals, health listener, and errors for people as one line."""

import os
import sys
import traceback
from collections.abc import Callable

from mliot.errors import Fatal, UserError
from mliot.logs import configure
from mliot.settings import Settings

STOPPED_SHORT = 70
"""EX_SOFTWARE of sysexits.h."""


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
