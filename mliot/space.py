"""How much room the disk of a stack's home has left, and what is said and done where it has none."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MB = 2**20
MIN_FREE_MB = 256
"""Below this the disk counts as full: the local MQTT broker takes no frames with less than 200 MB."""
MIN_START_MB = 64
"""A part that is started with less would end again at once: PostgreSQL's recovery, Kafka's indexes, Artemis' journal need about so much."""
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Space:
    """What is left, for an ordinary account, on the disk on which ``folder`` lies (or will lie)."""

    folder: Path
    free_mb: int

    @property
    def problem(self) -> str:
        """What a person is to be told; empty where there is room."""
        if self.free_mb >= MIN_FREE_MB:
            return ""
        return (
            f"the disk of {self.folder} is full: {self.free_mb} MB are free, at least {MIN_FREE_MB} MB are needed; "
            "make room, and everything goes on by itself"
        )


def space(home: Path) -> Space:
    """The space of the disk of ``home``, or of the nearest folder above it that there is."""
    folder = next(one for one in (home.absolute(), *home.absolute().parents) if one.exists())
    return Space(home.absolute(), shutil.disk_usage(folder).free // MB)


def wait_for_space(home: Path, say: Callable[[str], object], look: Callable[[Path], Space] = space) -> None:
    """Returns as soon as a part can be started on the disk of ``home``; tells ``say``, once, what it waits for."""
    parent, told = os.getppid(), False
    while (found := look(home)).free_mb < MIN_START_MB and os.getppid() == parent:
        if not told:
            say(f"waiting: {found.problem}")
            told = True
        time.sleep(LOOK_EVERY_S)
