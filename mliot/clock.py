"""Time as an input: every part that needs "now" is given a clock, so that a test or a seed can move it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time in whole milliseconds since 1970-01-01 UTC, and a monotonic second counter for deadlines."""

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class ManualClock:
    """A clock that moves only when told to; wall and monotonic time move together."""

    ms: int = 1_764_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def advance(self, ms: int) -> None:
        self.ms += ms


@dataclass(frozen=True)
class Deadline:
    """A budget that several steps share: whatever one of them uses is gone for the next."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        return cls(clock, clock.monotonic() + seconds)

    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - self.clock.monotonic())

    def passed(self) -> bool:
        return self.left() == 0.0


def span_text(ms: int) -> str:
    """A span for people: ``34 ms``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``; a negative one has its sign."""
    if ms < 0:
        return f"-{span_text(-ms)}"
    if ms < 1000:
        return f"{ms} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    seconds = ms // 1000
    for size, unit, rest, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            part = seconds % size // rest
            return f"{seconds // size} {unit}" + (f" {part} {small}" if part else "")
    return f"{seconds} s"


def clock_time(ms: int) -> str:
    """The instant as ``2025-11-24 16:00:05.120`` UTC."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}.{ms % 1000:03d}"
