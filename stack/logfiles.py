"""The log files of the stack's parts: their last lines, and what is added to them."""

import time
from collections.abc import Iterator
from pathlib import Path

LOOK_EVERY_S = 0.2
BLOCK = 1 << 16


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of ``path``, none where there is no such file; it reads only as much of the end as that takes."""
    if not path.exists() or not count:
        return []
    with path.open("rb") as file:
        position = file.seek(0, 2)
        tail = b""
        while position and tail.count(b"\n") <= count:
            step = min(BLOCK, position)
            position = file.seek(position - step)
            tail = file.read(step) + tail
    return tail.decode("utf-8", "replace").splitlines()[-count:]


class Follower:
    """Reads what is added to a log file, also past its rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._inode = path.stat().st_ino if path.exists() else 0
        self._rest = ""

    def lines(self) -> list[str]:
        """The whole lines added since the last call."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:  # between two steps of a rotation, or not written yet
            return []
        if stat.st_ino != self._inode or stat.st_size < self._position:
            self._inode, self._position = stat.st_ino, 0
        with self._path.open("rb") as file:
            file.seek(self._position)
            added = file.read()
        self._position += len(added)
        *whole, self._rest = (self._rest + added.decode("utf-8", "replace")).split("\n")
        return whole


def follow(paths: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Name and line of everything that is added to ``paths``, for ever."""
    followers = {name: Follower(path) for name, path in paths.items()}
    while True:
        for name, follower in followers.items():
            for line in follower.lines():
                yield name, line
        time.sleep(LOOK_EVERY_S)
