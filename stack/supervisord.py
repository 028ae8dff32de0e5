"""``python -m stack.supervisord``: the supervisor's own program, which does not end because a log cannot be written.

Left to itself it answers a full disk by writing a traceback to that disk, and ends; and with it everything that it looks after.
"""

import sys
from typing import Any

from supervisor import loggers, supervisord


class PatientFileHandler(loggers.RotatingFileHandler):  # type: ignore[misc]
    """A log file that skips what it cannot write, counts it, and says so in its place as soon as it can."""

    stream: Any
    skipped = 0
    reason = ""

    def emit(self, record: Any) -> None:
        try:
            self._open_again()
            self._tell_skipped()
            super().emit(record)
        except OSError as error:
            self.skipped += 1
            self.reason = error.strerror or str(error)

    def handleError(self) -> None:  # noqa: N802 - the name is supervisor's
        if isinstance(sys.exc_info()[1], OSError):
            raise  # noqa: PLE0704 - supervisor calls this where it handles the error; emit, above, knows what to do with this one
        super().handleError()

    def _open_again(self) -> None:
        """A rotation that failed half-way leaves the file closed."""
        if self.stream.closed:
            self.stream = open(self.baseFilename, "ab")  # noqa: SIM115, PTH123 - as supervisor opens it

    def _tell_skipped(self) -> None:
        if self.skipped:
            self.stream.write(f"(up to {self.skipped} writes are missing here: {self.reason})\n".encode())
            self.stream.flush()
            self.skipped = 0


def main() -> None:
    # it makes its handlers by this name, and has no setting for another kind
    loggers.RotatingFileHandler = PatientFileHandler
    supervisord.main()


if __name__ == "__main__":
    main()
