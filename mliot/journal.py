"""What publishers have delivered: an append-only journal with a line for each message that the broker acknowledged.

The audit starts from here. Lines go to the operating system one by one, so that a killed publisher loses none that it wrote;
a line that was torn nevertheless (the machine died) is cut off when its publisher starts again, and skipped by readers until then.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

_SUFFIX = ".jsonl"


class Acknowledged(msgspec.Struct, frozen=True):
    """A message that the broker has. ``id`` is the frame's id, or the id of the dead letter where it was broken on purpose."""

    kind: Literal["frame", "dead"]
    id: str
    topic: str
    acked_ms: int


class Journal:
    """The journal of one publisher: ``{folder}/{publisher}.jsonl``. Any thread may write."""

    def __init__(self, folder: Path, publisher: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{publisher}{_SUFFIX}"
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._file = path.open("ab", buffering=0)
        _cut_torn_line(path, self._file.fileno())

    def write(self, entry: Acknowledged) -> None:
        line = self._encoder.encode(entry) + b"\n"
        with self._lock:
            self._file.write(line)

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_journals(folder: Path) -> Iterator[Acknowledged]:
    """Every line of every journal in ``folder`` (none where there is no folder), file by file in the order written."""
    decoder = msgspec.json.Decoder(Acknowledged)
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield decoder.decode(line)


def _cut_torn_line(path: Path, descriptor: int) -> None:
    content_end = path.stat().st_size
    with path.open("rb") as file:
        at = content_end
        while at > 0:
            step = min(4096, at)
            file.seek(at - step)
            newline = file.read(step).rfind(b"\n")
            if newline >= 0:
                at = at - step + newline + 1
                break
            at -= step
    if at < content_end:
        os.ftruncate(descriptor, at)
