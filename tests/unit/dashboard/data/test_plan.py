"""Which use cases and lines belong to a place."""

from dashboard.data.plan import lines, measured_at, pairs, reading_line, serving
from dashboard.data.queries import Line
from dashboard.data.rows import Reading
from mliot.measurements import load_measurements
from mliot.usecase import Label
from tests.builtingrains import GRAINS
from usecases import load_use_cases

USE_CASES, MEASUREMENTS = load_use_cases(), load_measurements()
NOW = 1_764_000_000_000


def reading(device: str, place: str, **payload: float) -> Reading:
    return Reading(device, place, NOW, f"{device}@{NOW}#0", payload)


def test_a_use_case_belongs_where_it_serves_and_something_it_looks_at_is_measured() -> None:
    assert [u.name for u in serving(USE_CASES, "room-1", ["temperature"])] == ["fan_speed"]
    assert serving(USE_CASES, "room-1", ["battery"]) == []
    assert serving(USE_CASES, "barn", ["temperature"]) == []


def test_a_charts_span_is_sixty_of_its_windows() -> None:
    found = {
        p.use_case: NOW - p.since_ms
        for p in pairs(USE_CASES, GRAINS, [reading("a", "room-1", temperature=1), reading("b", "water-1", water_flow=1)], NOW)
    }
    assert found == {"fan_speed": 3_600_000, "water_flow": 60 * 3_600_000}


def test_the_reading_beside_a_prediction_is_what_the_model_sees_first_unless_it_is_the_label() -> None:
    assert reading_line(USE_CASES["fan_speed"], MEASUREMENTS, GRAINS, ["temperature"]) == ("place_1m", "temperature_avg")
    assert reading_line(USE_CASES["water_flow"], MEASUREMENTS, GRAINS, ["water_flow"]) is None


def test_a_use_case_of_single_frames_is_shown_where_what_it_looks_at_is_measured() -> None:
    columns = {"features": "features_sensor_frame", "columns": ("humidity", "dew_point"), "label": Label()}
    comfort = USE_CASES["fan_speed"].model_copy(update=columns)
    assert serving({"comfort": comfort}, "room-1", ["humidity"]) == [comfort]
    assert serving({"comfort": comfort}, "room-1", ["temperature"]) == []
    assert reading_line(comfort, MEASUREMENTS, GRAINS, ["humidity"]) == ("place_1m", "humidity_avg")


def test_a_place_without_a_use_case_shows_its_first_known_measurement() -> None:
    assert lines(USE_CASES, MEASUREMENTS, GRAINS, [reading("a", "barn", zz=1, co2=400)], NOW) == [
        Line("barn", "place_1m", "co2_avg", NOW - 3_600_000)
    ]
    assert lines(USE_CASES, MEASUREMENTS, GRAINS, [reading("a", "barn", zz=1)], NOW) == []


def test_what_a_place_measures_is_what_all_its_devices_measure() -> None:
    assert measured_at([reading("a", "p", x=1), reading("b", "p", y=1, x=2)]) == {"p": ["x", "y"]}
