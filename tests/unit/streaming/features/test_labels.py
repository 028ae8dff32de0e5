"""A label that was read in a window is found by exactly the row that it names."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.featuremodels import FeatureModels
from mliot.messages import Window
from streaming.features.labels import LabelSource
from usecases import load_use_cases

MINUTE = 60_000
FAN = load_use_cases()["fan_speed"]


def source(models: FeatureModels, horizon: int, sensor: str | None) -> LabelSource:
    label = FAN.label.model_copy(update={"horizon": timedelta(minutes=horizon), "sensor": sensor})
    found = LabelSource.of(FAN.model_copy(update={"label": label}), models)
    assert found is not None
    return found


def window(grain: str, key: str, minute: int, value: float | None) -> Window:
    start = minute * MINUTE
    return Window(
        window_id=f"{grain}:{key}@{start}", grain=grain, key=key, place_id="room-1", start_ms=start, end_ms=start + MINUTE, frames=1,
        first="", last="", values={} if value is None else {"fan_speed_last": value},
    )  # fmt: skip


@pytest.mark.parametrize("sensor", [None, "fan-7"])
@given(st.integers(0, 120), st.integers(120, 10**6), st.sampled_from([0.0, 1.0, 2.0, 3.0]))
def test_it_names_the_row_that_ended_the_horizon_before(
    models: FeatureModels, sensor: str | None, horizon: int, minute: int, value: float
) -> None:
    read = source(models, horizon, sensor)
    label = read.read(window(read.grain.name, sensor or "room-1", minute, value))
    assert label is not None
    assert label.feature_id == window("place_1m", "room-1", minute - horizon, None).window_id
    assert (label.key, label.value, label.label_ms) == ("room-1", value, (minute + 1) * MINUTE)
    assert label.available_ms == label.label_ms + FAN.label.arrives_after_ms


@pytest.mark.parametrize(
    ("grain", "key", "value"),
    [("place_1m", "room-1", 1.0), ("sensor_1m", "fan-8", 1.0), ("sensor_1m", "fan-7", None), ("sensor_1m", "fan-7", 1.5)],
)
def test_a_window_of_another_grain_or_sensor_or_without_a_class_holds_none(
    models: FeatureModels, grain: str, key: str, value: float | None
) -> None:
    assert source(models, 0, "fan-7").read(window(grain, key, 5, value)) is None
