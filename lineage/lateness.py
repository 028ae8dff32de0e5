"""Which windows must have been emitted, and which frames may have come too late for theirs: judged from the log alone.

A window closes when the watermark passes its end: the least, over the partitions that are not silent, of the greatest event time (of each
frame no later than its arrival) less the grace; the clock takes over where all are silent. A frame that comes after that is late, and is
counted instead of aggregated.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from mliot.frames import reached_ms

MARGIN_MS = 2_000
"""From a frame's arrival to its being read: it is late where the watermark passed less than this afterwards."""


@dataclass
class Closings:
    """When the watermark was seen to pass window ends, as the emitted windows tell it; all are noted before the first question."""

    _first_ms: dict[int, int] = field(default_factory=dict)
    _last_ms: dict[int, dict[int, int]] = field(default_factory=dict)
    _passed: tuple[list[int], list[int]] | None = None
    _ahead: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)

    def note(self, end_ms: int, made_ms: int, partition: int) -> None:
        """A window of ``partition`` that ends at ``end_ms`` was emitted at ``made_ms``."""
        self._first_ms[end_ms] = min(made_ms, self._first_ms.get(end_ms, made_ms))
        last = self._last_ms.setdefault(partition, {})
        last[end_ms] = max(made_ms, last.get(end_ms, made_ms))
        self._passed = None
        self._ahead.clear()

    def passed_ms(self, end_ms: int) -> int | None:
        """The earliest time at which a window with this end or a later one was emitted, or None: the watermark had passed it by then."""
        if self._passed is None:
            ends = sorted(self._first_ms)
            earliest = [self._first_ms[end] for end in ends]
            for i in range(len(earliest) - 2, -1, -1):
                earliest[i] = min(earliest[i], earliest[i + 1])
            self._passed = ends, earliest
        ends, earliest = self._passed
        at = bisect_left(ends, end_ms)
        return earliest[at] if at < len(ends) else None

    def ahead_ms(self, end_ms: int, partition: int) -> int | None:
        """The latest time at which a window of ``partition`` with this end or an earlier one was emitted, or None: until then the
        watermark had not passed it."""
        if partition not in self._ahead:
            last = self._last_ms.get(partition, {})
            ends = sorted(last)
            latest = [last[end] for end in ends]
            for i in range(1, len(latest)):
                latest[i] = max(latest[i], latest[i - 1])
            self._ahead[partition] = ends, latest
        ends, latest = self._ahead[partition]
        at = bisect_right(ends, end_ms)
        return latest[at - 1] if at else None


@dataclass
class PartitionTime:
    """How far one partition of the frames has come: fed with its frames in the order of their offsets."""

    reached_ms: int = 0
    newest_arrival_ms: int = 0

    def feed(self, event_ms: int, arrived_ms: int) -> None:
        self.reached_ms = max(self.reached_ms, reached_ms(event_ms, arrived_ms))
        self.newest_arrival_ms = max(self.newest_arrival_ms, arrived_ms)


def may_be_late(arrived_ms: int, end_ms: int, *, before: PartitionTime, passed_ms: int | None, ahead_ms: int | None, grace_ms: int) -> bool:
    """True where a frame may have come after its window (which ends at ``end_ms``) had closed; ``before`` excludes the frame itself.

    Its own partition had moved on; or the watermark may have passed, by other partitions (some window that ends no earlier was
    emitted before the frame could be read) or by the clock in a silence. A window of its partition that ends no later and was emitted
    after the frame arrived rules both out.
    """
    if before.reached_ms - grace_ms >= end_ms:
        return True
    if ahead_ms is not None and ahead_ms > arrived_ms:
        return False
    by_others = passed_ms is not None and passed_ms <= arrived_ms + MARGIN_MS
    by_clock = arrived_ms - grace_ms >= end_ms
    return by_others or by_clock


def watermark_ms(partitions: list[PartitionTime], *, now_ms: int, grace_ms: int, idle_ms: int) -> int:
    """Windows that end at or before this must have been emitted; where all partitions are silent, the clock says so."""
    active = [p.reached_ms for p in partitions if p.newest_arrival_ms > now_ms - idle_ms]
    return min(active) - grace_ms if active else now_ms - idle_ms - grace_ms
