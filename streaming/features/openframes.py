"""Which frames are in open windows, by id: what a frame that arrives is, and from which offset a restart must read again.

Held beside the frames themselves, so that a batch costs what it holds and not what the hour before it held.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Place = tuple[int, int]
"""Partition and offset."""


class Arrived(NamedTuple):
    """A frame that was read, by the names of its columns."""

    kafka_partition: int
    kafka_offset: int
    event_ms: int
    frame_id: str
    arrived_ms: int


@dataclass
class Judged:
    """How many frames were new, how many of those late, how many late for the shortest window only; ``unwanted`` are all but the used."""

    fresh: int = 0
    late: int = 0
    late_for_shortest: int = 0
    unwanted: list[Place] = field(default_factory=list)

    @property
    def used(self) -> int:
        return self.fresh - self.late


class OpenFrames:
    """The ids of frames whose longest window is open. ``emitted_ms`` is, by partition, the watermark up to which windows were emitted."""

    def __init__(self, longest_ms: int, shortest_ms: int) -> None:
        self._longest, self._shortest = longest_ms, shortest_ms
        self._ids: set[str] = set()
        self._ending: dict[tuple[int, int], list[str]] = defaultdict(list)
        self._oldest: dict[tuple[int, int], int] = {}

    def clear(self) -> None:
        self._ids.clear()
        self._ending.clear()
        self._oldest.clear()

    def judge(self, frames: Iterable[Arrived], emitted_ms: Mapping[int, int]) -> Judged:
        """Takes in the frames of a batch, in the order of the log, that are new and not late.

        A late one is forgotten with its batch, so that it is late again when it comes again.
        """
        judged = Judged()
        late: set[str] = set()
        for partition, offset, event_ms, frame_id, _ in frames:
            if frame_id in self._ids or frame_id in late:
                judged.unwanted.append((partition, offset))
                continue
            judged.fresh += 1
            end = _end(event_ms, self._longest)
            emitted = emitted_ms[partition]
            if end <= emitted:
                judged.late += 1
                late.add(frame_id)
                judged.unwanted.append((partition, offset))
                continue
            judged.late_for_shortest += _end(event_ms, self._shortest) <= emitted
            self._ids.add(frame_id)
            self._ending[partition, end].append(frame_id)
            self._oldest[partition, end] = min(offset, self._oldest.get((partition, end), offset))
        return judged

    def forget(self, emitted_ms: Mapping[int, int]) -> int:
        """Lets go of the frames whose longest window was emitted, and says how many they are."""
        before = len(self._ids)
        for partition, end in [*self._ending]:
            if end <= emitted_ms[partition]:
                self._ids.difference_update(self._ending.pop((partition, end)))
                del self._oldest[partition, end]
        return before - len(self._ids)

    def oldest(self) -> dict[int, int]:
        """By partition, the offset of the oldest frame; partitions without one are missing."""
        found: dict[int, int] = {}
        for (partition, _), offset in self._oldest.items():
            found[partition] = min(offset, found.get(partition, offset))
        return found


def _end(event_ms: int, window_ms: int) -> int:
    return event_ms - event_ms % window_ms + window_ms
