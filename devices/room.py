"""A room's heat and moisture balance, with a fan that acts on it. Pure: state in, state out.

One air volume, well mixed, coupled to one heat store (air, furniture, the inner layer of the walls):

    C dT/dt   = UA (To - T) + rho cp [Vi (To - T) + Vf (Ts - T)] + people + machine + g A I      W
    V dw/dt   = Vi (wo - w) + Vf (ws - w) + vapour from people and machine                        g/s

T, To, Ts: temperatures of room, outdoors and the fan's supply air, °C; w, wo, ws: their vapour, g/m3; Vi, Vf: infiltration and the fan's
flow, m3/s; I: sun on the window, W/m2. Within a substep everything but T and w is constant, so each is a linear equation that is solved
exactly: no step is too long to be stable. The fan draws outdoor air over a coil with water of 14 °C, which cools what is warmer and takes
the water that condenses there.

Sources: the single-zone balance of EN ISO 13790:2008 (clause 7, simple hourly method, reduced to one node); saturation pressure after
Magnus with Sonntag's coefficients (WMO-No. 8, annex 4.B); a seated person gives off 70 W of sensible heat and 65 g/h of vapour (ASHRAE
Fundamentals 2017, chapter 18, table 1).
"""

from dataclasses import dataclass
from math import ceil, exp, log

LEVELS = (0, 1, 2, 3)
"""The fan's levels: off, low, middle, high."""

SUBSTEP_S = 60.0
AIR_J_PER_M3_K = 1206.0
"""Density times heat capacity of air at 20 °C."""
PERSON_W = 70.0
PERSON_G_PER_S = 65.0 / 3600
COIL_C = 14.0
COIL_EFFECTIVENESS = 0.75
VAPOUR_J_PER_KG_K = 461.5
KELVIN = 273.15


@dataclass(frozen=True)
class Room:
    """What does not change: volume m3, heat store J/K, loss W/K, infiltration m3/s, window m2 of solar aperture, fan m3/s by level."""

    volume: float = 60.0
    heat_store: float = 260e3
    loss: float = 24.0
    infiltration: float = 0.008
    solar_aperture: float = 1.2
    fan_flow: tuple[float, float, float, float] = (0.0, 0.03, 0.07, 0.13)


@dataclass(frozen=True)
class RoomState:
    """Air temperature °C and vapour g/m3."""

    temperature: float
    vapour: float


@dataclass(frozen=True)
class Surroundings:
    """What acts on a room: outdoor °C and vapour g/m3, sun on the window W/m2, people, and a machine's heat W and vapour g/s."""

    temperature: float
    vapour: float
    sun: float = 0.0
    people: int = 0
    machine: float = 0.0
    machine_vapour: float = 0.0


def step(room: Room, state: RoomState, around: Surroundings, fan_level: int, dt_s: float) -> RoomState:
    """The room ``dt_s`` seconds later, in substeps of at most a minute."""
    substeps = max(1, ceil(dt_s / SUBSTEP_S))
    for _ in range(substeps):
        state = _substep(room, state, around, room.fan_flow[fan_level], dt_s / substeps)
    return state


def _substep(room: Room, state: RoomState, around: Surroundings, fan_flow: float, dt_s: float) -> RoomState:
    supply_c, supply_vapour = supply_air(around)
    loss = room.loss + AIR_J_PER_M3_K * room.infiltration
    cooling = AIR_J_PER_M3_K * fan_flow
    gains = PERSON_W * around.people + around.machine + room.solar_aperture * around.sun
    settled_c = (loss * around.temperature + cooling * supply_c + gains) / (loss + cooling)
    temperature = _towards(settled_c, state.temperature, dt_s * (loss + cooling) / room.heat_store)
    flow = room.infiltration + fan_flow
    vapour_gain = PERSON_G_PER_S * around.people + around.machine_vapour
    settled_vapour = (room.infiltration * around.vapour + fan_flow * supply_vapour + vapour_gain) / flow
    vapour = _towards(settled_vapour, state.vapour, dt_s * flow / room.volume)
    return RoomState(temperature, min(vapour, saturation_vapour(temperature)))  # what is above condenses on the walls


def _towards(settled: float, now: float, time_constants: float) -> float:
    return settled + (now - settled) * exp(-time_constants)


def supply_air(around: Surroundings) -> tuple[float, float]:
    """Temperature °C and vapour g/m3 of what the fan blows in: outdoor air, cooled by the coil where it is warmer than that."""
    temperature = around.temperature - COIL_EFFECTIVENESS * max(0.0, around.temperature - COIL_C)
    return temperature, min(around.vapour, saturation_vapour(temperature))


def saturation_pressure(temperature: float) -> float:
    """Pressure of saturated vapour over water, Pa, from °C."""
    return 611.2 * exp(17.62 * temperature / (243.12 + temperature))


def saturation_vapour(temperature: float) -> float:
    """Vapour in saturated air, g/m3, from °C."""
    return 1000 * saturation_pressure(temperature) / (VAPOUR_J_PER_KG_K * (temperature + KELVIN))


def relative_humidity(state: RoomState) -> float:
    """Percent of saturation."""
    return 100 * state.vapour / saturation_vapour(state.temperature)


def dew_point(temperature: float, humidity: float) -> float:
    """Temperature °C at which air of ``temperature`` °C and relative ``humidity`` % (above 0) is saturated."""
    ratio = log(humidity / 100) + 17.62 * temperature / (243.12 + temperature)
    return 243.12 * ratio / (17.62 - ratio)
