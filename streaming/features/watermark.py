"""How far event time has certainly come: pure bookkeeping over what was read, and when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streaming.runtime.effects import Partition

Mover = Literal["watermark", "clock"]


@dataclass
class Watermark:
    """The minimum over partitions of the latest event time read, less a grace (a maximum would let one partition close another's windows).
    A frame's event time counts up to its own arrival (:func:`mliot.frames.reached_ms`): a clock that runs ahead makes nobody else late.

    A partition that is read to its end and silent for ``idle_ms`` no longer holds the others back. Where all are silent the clock moves
    the watermark, so that a last window closes too; but not before the first frame, or a history that is sent to a waiting service
    would be late from its first frame on. It never goes back.
    """

    grace_ms: int
    idle_ms: int
    started_ms: int
    ms: int = 0
    by: Mover = "watermark"
    latest: dict[Partition, int] = field(default_factory=dict)
    heard_ms: dict[Partition, int] = field(default_factory=dict)

    def observe(self, latest_event_ms: Mapping[Partition, int], now_ms: int) -> None:
        """Takes in the latest event time of each partition that records were just read from."""
        for partition, event_ms in latest_event_ms.items():
            self.latest[partition] = max(event_ms, self.latest.get(partition, event_ms))
            self.heard_ms[partition] = now_ms

    def advance(self, assigned: Iterable[Partition], at_end: frozenset[Partition], now_ms: int) -> int:
        """The watermark as of now, in milliseconds of event time."""
        awake = [p for p in assigned if not (p in at_end and now_ms - self.heard_ms.get(p, self.started_ms) >= self.idle_ms)]
        if not self.latest:
            return self.ms
        if not awake:
            candidate, by = now_ms - self.grace_ms, "clock"
        elif all(partition in self.latest for partition in awake):
            candidate, by = min(self.latest[partition] for partition in awake) - self.grace_ms, "watermark"
        else:
            return self.ms
        if candidate > self.ms:
            self.ms, self.by = candidate, "clock" if by == "clock" else "watermark"
        return self.ms
