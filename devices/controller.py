"""Who sets a fan's level. Pure: what is measured in, a level out.

The reference room's controller is the one that a model is to learn: the higher of two demands, one by temperature and one by dew point,
each with hysteresis, and never a change sooner than the shortest dwell. Every other fan falls back to a plain thermostat when nobody
commands it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Staircase:
    """Levels 1, 2, 3 from ``rising`` thresholds up; a level is left downwards only ``hysteresis`` below its threshold."""

    rising: tuple[float, float, float]
    hysteresis: float

    def level(self, now: int, value: float) -> int:
        """The level for ``value`` where ``now`` is held."""
        up = sum(value >= threshold for threshold in self.rising)
        down = sum(value >= threshold - self.hysteresis for threshold in self.rising)
        return min(max(now, up), down)


@dataclass(frozen=True)
class Held:
    """A level and since when it holds, ms."""

    level: int
    since_ms: int


@dataclass(frozen=True)
class Controller:
    """Temperature (°C) and, where given, dew point (°C) to a level that is held for ``dwell_ms`` at least."""

    temperature: Staircase
    dew_point: Staircase | None = None
    dwell_ms: int = 180_000

    def decide(self, held: Held, temperature: float, dew_point: float, now_ms: int) -> Held:
        if now_ms - held.since_ms < self.dwell_ms:
            return held
        level = self.temperature.level(held.level, temperature)
        if self.dew_point is not None:
            level = max(level, self.dew_point.level(held.level, dew_point))
        return held if level == held.level else Held(level, now_ms)


REFERENCE = Controller(Staircase((22.8, 24.3, 25.6), 0.3), Staircase((13.8, 15.0, 16.0), 0.3), dwell_ms=120_000)
"""The reference room's controller: its level is the label of the use case fan_speed."""

THERMOSTAT = Controller(Staircase((24.5, 26.0, 27.5), 0.8), dwell_ms=300_000)
"""What a fan does by itself."""
