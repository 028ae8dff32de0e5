"""What a use case declares agrees with itself."""

import pytest
from pydantic import ValidationError

from mliot.usecase import Label, UseCase
from usecases import load_use_cases


def test_one_device_holds_a_label_only_where_something_is_measured() -> None:
    with pytest.raises(ValidationError, match="sensor needs a measurement"):
        Label(sensor="iot_sensor_0")


@pytest.mark.parametrize(("old", "new"), [("class", "classification"), ("number", "regression")])
def test_a_kind_s_old_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    fan = load_use_cases()["fan_speed"]
    with pytest.raises(ValidationError, match=f"kind '{old}' is called '{new}' now"):
        UseCase.model_validate({**fan.model_dump(), "kind": old})


def test_a_label_is_one_of_the_classes_or_any_number() -> None:
    fan, flow = load_use_cases()["fan_speed"], load_use_cases()["water_flow"]
    assert [fan.has_label(3.0), fan.has_label(4.0), flow.has_label(4.0), flow.has_label(-0.5)] == [True, False, True, True]


def test_places_are_matched_whole() -> None:
    fan = load_use_cases()["fan_speed"]
    assert [fan.serves(place) for place in ("000000000", "room-1", "water-1", "bedroom-1")] == [True, True, False, False]
