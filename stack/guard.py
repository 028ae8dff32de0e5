"""``python -m stack.guard PART SIGNAL COMMAND...`` becomes COMMAND, tied to the life of the process that started it.

First it ends what an earlier life of the same part left behind (workers of a killed parent that still hold its port). Then it asks
the kernel for SIGNAL as soon as its parent dies (Linux; elsewhere :mod:`stack.watch` does it), waits for space on the disk where
there is none, and replaces itself by COMMAND, which heeds SIGINT and SIGTERM whatever this process was started with. It costs nothing
afterwards.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

from mliot.settings import STACK_MARK
from mliot.space import wait_for_space
from stack.processes import PART_MARK, end, of_stack

PR_SET_PDEATHSIG = 1
LEFTOVERS_S = 10


def wrap(part: str, stop: str, command: tuple[str, ...]) -> tuple[str, ...]:
    """The command that runs ``command`` under guard; ``stop`` is a signal's name without SIG."""
    return (sys.executable, "-m", "stack.guard", part, stop, *command)


def main(arguments: list[str]) -> None:
    part, stop, *command = arguments
    parent = os.getppid()
    home = os.environ.get(STACK_MARK, "")
    os.environ[PART_MARK] = part
    end(of_stack(home, part) if home else [], within_s=LEFTOVERS_S)
    if sys.platform == "linux":
        end_with_parent(signal.Signals[f"SIG{stop}"], parent)
    for heeded in (signal.SIGINT, signal.SIGTERM):
        # what a process ignores is inherited, a shell's background job ignores SIGINT, and Java never heeds what it was started to ignore
        signal.signal(heeded, signal.SIG_DFL)
    if home:
        wait_for_space(Path(home), lambda why: print(why, file=sys.stderr, flush=True))  # noqa: T201
    os.execvp(command[0], command)  # noqa: S606 - it replaces this process, which is the purpose


def end_with_parent(sent: signal.Signals, parent: int) -> None:
    """Have the kernel send ``sent`` to this process when ``parent`` dies; leave at once if that has happened already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
