import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.featuremodels import FeatureModels
from mliot.grains import Grain, Grains
from tests.builtingrains import FRAME_GRAIN, GRAINS

NAMES = st.from_regex(r"[A-Za-z0-9_.:\-]{1,64}", fullmatch=True)
GRAIN = st.builds(
    Grain,
    st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True),
    st.integers(1, 100_000).map(lambda seconds: seconds * 1000),
    st.sampled_from([("place_id",), ("device",), ("place_id", "device")]),
)


@given(st.lists(GRAIN, min_size=1, max_size=4, unique_by=lambda grain: grain.name), st.integers(0, 4_000_000_000_000), NAMES, NAMES)
def test_a_frame_lies_in_one_window_of_each_grain_and_its_id_reads_back(declared, event_ms, device, place_id):
    grains = Grains(declared, (FRAME_GRAIN,), {})
    spans = list(grains.windows_of(device, place_id, event_ms))
    assert sorted(span.grain for span in spans) == sorted(declared)
    for span in spans:
        assert span.start_ms <= event_ms < span.end_ms == span.start_ms + span.grain.window_ms
        assert grains.window(span.id) == span
        assert set(span.grain.values(span.key).values()) <= {device, place_id}


def test_a_sensors_window_is_keyed_by_device_and_a_places_by_place():
    assert [span.id for span in GRAINS.windows_of("iot_sensor_0", "000000000", 3_600_000 + 61_000)] == [
        "sensor_1m:iot_sensor_0@3660000",
        "place_1m:000000000@3660000",
        "place_1h:000000000@3600000",
    ]


@pytest.mark.parametrize("text", ["", "place_1m", "place_1m:@0", "place_1m:x@1", "place_1m:x@-60000", "other:x@0", "place_1m:x@６００００"])
def test_what_is_no_window_id_is_none(text):
    assert GRAINS.window(text) is None


def test_a_row_of_a_frame_names_its_frame_and_a_windows_row_none():
    assert GRAINS.rows_of_frame("d@1#0") == ["sensor_frame:d@1#0"]
    assert GRAINS.frame_of("sensor_frame:d@1#0") == "d@1#0"
    assert GRAINS.frame_of("place_1m:d@1#0") is None


@pytest.mark.parametrize(
    ("ms", "told"),
    [(1000, "second"), (60_000, "minute"), (300_000, "5 minutes"), (3_600_000, "hour"), (90_000, "90 seconds"), (172_800_000, "2 days")],
)
def test_a_length_is_told_in_the_largest_whole_unit(ms, told):
    assert Grain("g", ms, ("place_id",)).span == told


def test_the_grains_are_those_that_dbt_declares(models: FeatureModels):
    declared = Grains.of(models)
    assert (declared.windows, declared.frames) == (GRAINS.windows, GRAINS.frames)
    for name in (*(model.name for model in models.features), "features_other"):
        assert declared.of_rows(name) == GRAINS.of_rows(name)
    assert declared.shortest_of_places.name == "place_1m"
