"""Which processes belong to a stack, and how they are ended: each carries the stack's home and its part's name in its environment.

Children of a part inherit the marks, so that a worker whose own parent was killed is still found.
"""

import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from mliot.settings import STACK_MARK

PART_MARK = "_MLIOT_PART"


def marks(home: Path, part: str = "") -> dict[str, str]:
    """What the environment of a process of the stack in ``home`` holds."""
    return {STACK_MARK: str(home.absolute())} | ({PART_MARK: part} if part else {})


def belongs(environment: dict[str, str], home: str, part: str = "") -> bool:
    """True where ``environment`` marks a process of the stack in ``home`` (and of ``part``, if one is named)."""
    return environment.get(STACK_MARK) == home and (not part or environment.get(PART_MARK) == part)


def of_stack(home: str, part: str = "") -> list[psutil.Process]:
    """The running processes of the stack in ``home`` (of its ``part``), the calling process and its parents left out."""
    self = psutil.Process()
    spared = {self.pid, *(parent.pid for parent in self.parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in spared and belongs(process.environ(), home, part) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended meanwhile, or is another account's: not of this stack
            continue
    return found


def end(processes: Iterable[psutil.Process], within_s: float, stop: signal.Signals = signal.SIGTERM) -> None:
    """Ask ``processes`` to stop, wait, and kill those that are left after ``within_s`` seconds; returns when all are gone."""
    asked = list(processes)
    _send(asked, stop)
    _, left = psutil.wait_procs(asked, timeout=within_s)
    _send(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=within_s)


def _send(processes: Iterable[psutil.Process], sent: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(sent)
        except psutil.NoSuchProcess:
            continue
