from devices.controller import REFERENCE, THERMOSTAT, Controller, Held, Staircase

STAIRS = Staircase((20.0, 22.0, 24.0), hysteresis=0.5)


def test_levels_rise_at_their_thresholds_and_fall_only_below_the_hysteresis() -> None:
    level, seen = 0, []
    for value in (19.9, 20.0, 21.9, 22.0, 21.6, 21.4, 24.1, 19.6, 19.4):
        level = STAIRS.level(level, value)
        seen.append(level)
    #              19.9 20.0 21.9 22.0 21.6 21.4 24.1 19.6 19.4
    assert seen == [0, 1, 1, 2, 2, 1, 3, 1, 0]


def test_a_level_is_held_for_the_dwell() -> None:
    controller = Controller(STAIRS, dwell_ms=1000)
    held = controller.decide(Held(0, 0), 25.0, 0.0, now_ms=999)
    assert held == Held(0, 0)
    held = controller.decide(held, 25.0, 0.0, now_ms=1000)
    assert held == Held(3, 1000)
    assert controller.decide(held, 10.0, 0.0, now_ms=1999) == held
    assert controller.decide(held, 10.0, 0.0, now_ms=2000) == Held(0, 2000)


def test_a_level_that_stays_keeps_its_since() -> None:
    assert Controller(STAIRS, dwell_ms=0).decide(Held(3, 5), 30.0, 0.0, now_ms=10_000) == Held(3, 5)


def test_the_reference_controller_answers_to_moist_air_as_well_as_to_warm_air() -> None:
    cool_dry, cool_moist, warm_dry = (20.0, 8.0), (20.0, 17.0), (26.0, 8.0)
    later = 10 * REFERENCE.dwell_ms
    assert [REFERENCE.decide(Held(0, 0), *air, now_ms=later).level for air in (cool_dry, cool_moist, warm_dry)] == [0, 3, 3]


def test_the_thermostat_knows_nothing_of_moisture() -> None:
    assert THERMOSTAT.decide(Held(0, 0), 20.0, 25.0, now_ms=10**9).level == 0
