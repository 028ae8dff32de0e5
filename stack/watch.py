"""``python -m stack.watch HOME``: the part of the stack that ends all the others when nobody is left to do it.

It looks at two lives: its parent's, the supervisor, and the starter's, while ``HOME/run/starter`` names one (during the start, and for
as long as ``mliot up --foreground`` runs). A dead starter stops the supervisor, which stops the parts in their order; a dead supervisor
(``kill -9``) leaves the parts to be ended here.
"""

import os
import signal
import sys
import time
from pathlib import Path

import psutil

from stack.processes import end, of_stack

LOOK_EVERY_S = 0.5
PARTS_S = 20


def starter_file(home: Path) -> Path:
    return home / "run" / "starter"


def supervisor_file(home: Path) -> Path:
    """Where the supervisor notes its process id before it starts anything."""
    return home / "run" / "supervisor.pid"


def describe(process: psutil.Process) -> str:
    """Process id and time of birth: an id alone may have gone to another process since."""
    return f"{process.pid} {process.create_time()}"


def alive(described: str) -> bool:
    """True while the process that :func:`describe` described runs."""
    pid, born = described.split()
    try:
        process = psutil.Process(int(pid))
        return process.create_time() == float(born) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def starter_died(home: Path) -> bool:
    """True where a starter is named and runs no longer."""
    try:
        return not alive(starter_file(home).read_text("utf-8"))
    except FileNotFoundError:
        return False


def main(home: Path) -> None:
    supervisor = int(supervisor_file(home).read_text("utf-8"))  # not the parent: it may have died before this line
    told = False
    while os.getppid() == supervisor:
        if not told and starter_died(home):
            os.kill(supervisor, signal.SIGTERM)
            told = True
        time.sleep(LOOK_EVERY_S)
    end(of_stack(str(home)), within_s=PARTS_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
