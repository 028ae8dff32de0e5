"""What happens around a room, as a pure function of seed, place and time: weather, sun, people, a machine. UTC is taken as solar time."""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin

from devices.noise import smooth, uniform
from devices.room import Surroundings, saturation_vapour

HOUR_MS = 3_600_000
PEOPLE_SLOT_MS = 30 * 60_000
MACHINE_SLOT_MS = 18 * 60_000
LUX_PER_SUN = 3.2
"""Illuminance at the sensor for each W/m2 on the window: 110 lx per W/m2 and a daylight factor of about 3 %."""
LAMPS_LUX = 420.0


@dataclass(frozen=True)
class Around:
    """The surroundings of a room at one time, with what its sensors see of them: pressure Pa and illuminance lx."""

    air: Surroundings
    pressure: float
    luminosity: float


def around(seed: int, place_id: str, at_ms: int) -> Around:
    """Weather is the same for all places of a seed; people and machine are each place's own."""
    hour = _hour(at_ms)
    outdoor, moisture, sun, pressure = _weather(seed, at_ms)
    people = _people(seed, place_id, at_ms, hour)
    heat, vapour = _machine(seed, place_id, at_ms, hour)
    lamps = LAMPS_LUX if people and sun * LUX_PER_SUN < LAMPS_LUX else 0.0
    return Around(Surroundings(outdoor, moisture, sun, people, heat, vapour), pressure, LUX_PER_SUN * sun + lamps)


def _hour(at_ms: int) -> float:
    return at_ms % (24 * HOUR_MS) / HOUR_MS


@lru_cache(maxsize=4_096)  # all rooms go on at the same moments, also through their hours of warming up
def _weather(seed: int, at_ms: int) -> tuple[float, float, float, float]:
    """Outdoor °C and vapour g/m3, sun on the window W/m2, pressure Pa."""
    hour = _hour(at_ms)
    outdoor = 15 + 4 * cos(2 * pi * (hour - 15) / 24) + 2 * smooth(seed, "weather", at_ms, 18 * HOUR_MS)
    humidity = 0.66 + 0.10 * smooth(seed, "moisture", at_ms, 14 * HOUR_MS) - 0.08 * cos(2 * pi * (hour - 15) / 24)
    clear = 0.6 + 0.4 * smooth(seed, "clouds", at_ms, HOUR_MS)
    sun = 420 * max(0.0, sin(pi * (hour - 6) / 12)) * clear
    return outdoor, humidity * saturation_vapour(outdoor), sun, 101_325 + 900 * smooth(seed, "pressure", at_ms, 20 * HOUR_MS)


def _people(seed: int, place_id: str, at_ms: int, hour: float) -> int:
    """None at night, up to six by day, a new number each half hour."""
    most = 6 if 8 <= hour < 18 else 3 if 6 <= hour < 22 else 0
    return int(uniform(seed, f"people {place_id}", at_ms // PEOPLE_SLOT_MS) * (most + 1))


def _machine(seed: int, place_id: str, at_ms: int, hour: float) -> tuple[float, float]:
    """Heat W and vapour g/s of a machine that runs in batches, day and night: a dryer, a kettle, a printer."""
    slot = at_ms // MACHINE_SLOT_MS
    busy = 0.75 if 7 <= hour < 20 else 0.65
    draw = uniform(seed, f"machine {place_id}", slot) / busy
    if draw >= 1:
        return 60.0, 0.0
    wet = uniform(seed, f"batch {place_id}", slot)
    return 200 + 1800 * draw, 0.30 * wet
