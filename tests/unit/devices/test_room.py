from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.room import AIR_J_PER_M3_K, LEVELS, Room, RoomState, Surroundings, dew_point, relative_humidity, saturation_vapour, step

ROOM = Room()
MILD = Surroundings(temperature=15.0, vapour=8.0)
BUSY = replace(MILD, sun=300.0, people=4, machine=600.0)
START = RoomState(22.0, 9.0)
HOUR_S = 3600.0

surroundings = st.builds(
    Surroundings,
    temperature=st.floats(-20, 45),
    vapour=st.floats(0.5, 20),
    sun=st.floats(0, 800),
    people=st.integers(0, 10),
    machine=st.floats(0, 3000),
    machine_vapour=st.floats(0, 0.5),
)
levels = st.sampled_from(LEVELS)


def test_saturation_agrees_with_the_tables() -> None:
    """Vapour in saturated air: 4.85 g/m3 at 0 °C, 17.3 g/m3 at 20 °C, 30.4 g/m3 at 30 °C."""
    assert [saturation_vapour(t) for t in (0, 20, 30)] == pytest.approx([4.85, 17.3, 30.4], rel=0.01)


def test_dew_point_of_air_is_the_temperature_at_which_its_vapour_saturates() -> None:
    assert dew_point(25.0, 100.0) == pytest.approx(25.0)
    assert dew_point(25.0, 50.0) == pytest.approx(13.9, abs=0.1)


def test_a_higher_level_cools_more_and_dries_what_people_and_machine_moisten() -> None:
    damp = replace(BUSY, machine_vapour=0.1)
    after = [step(ROOM, START, damp, level, HOUR_S) for level in LEVELS]
    assert [s.temperature for s in after] == sorted((s.temperature for s in after), reverse=True)
    assert [s.vapour for s in after] == sorted((s.vapour for s in after), reverse=True)
    assert after[0].temperature - after[3].temperature > 3


def test_the_fan_cools_even_when_it_is_hotter_outdoors_than_in() -> None:
    heat_wave = Surroundings(temperature=34.0, vapour=12.0)
    assert step(ROOM, RoomState(27, 12), heat_wave, 3, HOUR_S).temperature < step(ROOM, RoomState(27, 12), heat_wave, 0, HOUR_S).temperature


def test_heat_put_in_is_heat_kept_or_lost() -> None:
    """Over a short step the stored heat changes by gains minus losses, here worked out by hand."""
    dt = 1.0
    after = step(ROOM, START, BUSY, 0, dt)
    gains = 4 * 70.0 + 600.0 + ROOM.solar_aperture * 300.0
    losses = (ROOM.loss + AIR_J_PER_M3_K * ROOM.infiltration) * (START.temperature - BUSY.temperature)
    assert ROOM.heat_store * (after.temperature - START.temperature) == pytest.approx((gains - losses) * dt, rel=1e-3)


def test_an_empty_room_ends_as_warm_as_outdoors() -> None:
    end = step(ROOM, START, MILD, 0, 30 * 24 * HOUR_S)
    assert (end.temperature, end.vapour) == pytest.approx((MILD.temperature, MILD.vapour), abs=0.01)


@given(surroundings, levels, st.floats(10, 40), st.floats(1, 9), st.floats(1, 10 * 24 * HOUR_S))
def test_no_step_is_too_long(around: Surroundings, level: int, temperature: float, vapour: float, dt_s: float) -> None:
    after = step(ROOM, RoomState(temperature, vapour), around, level, dt_s)
    assert -25 <= after.temperature <= 200
    assert 0 < relative_humidity(after) <= 100 + 1e-9


@given(surroundings, levels, st.integers(1, 20))
def test_minutes_one_by_one_are_the_same_as_all_at_once(around: Surroundings, level: int, minutes: int) -> None:
    state = START
    for _ in range(minutes):
        state = step(ROOM, state, around, level, 60.0)
    at_once = step(ROOM, START, around, level, 60.0 * minutes)
    assert (state.temperature, state.vapour) == pytest.approx((at_once.temperature, at_once.vapour))
