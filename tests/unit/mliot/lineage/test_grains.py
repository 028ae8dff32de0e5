import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.lineage.grains import GRAINS, parse_window_id, windows_of


@given(st.integers(0, 4_000_000_000_000), st.from_regex(r"[A-Za-z0-9_.:\-]{1,64}", fullmatch=True))
def test_a_frame_lies_in_one_window_of_each_grain_and_its_id_reads_back(event_ms, place_id):
    spans = list(windows_of("device:1", place_id, event_ms))
    assert [span.grain for span in spans] == list(GRAINS)
    for span in spans:
        assert span.start_ms <= event_ms < span.end_ms
        assert parse_window_id(span.id) == span


def test_a_sensors_window_is_keyed_by_device_and_a_places_by_place():
    assert [span.id for span in windows_of("iot_sensor_0", "000000000", 3_600_000 + 61_000)] == [
        "sensor_1m:iot_sensor_0@3660000",
        "place_1m:000000000@3660000",
        "place_1h:000000000@3600000",
    ]


@pytest.mark.parametrize("text", ["", "place_1m", "place_1m:@0", "place_1m:x@1", "place_1m:x@-60000", "other:x@0", "place_1m:x@６００００"])
def test_what_is_no_window_id_is_none(text):
    assert parse_window_id(text) is None
