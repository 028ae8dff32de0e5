"""A use case is a file; a mistake in it is one line that names file, field and what is allowed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mliot.errors import DeclarationError
from mliot.usecase import Label, UseCase
from usecases import load_use_cases

GOOD = """
from mliot.usecase import Label, Linear, UseCase

{name} = UseCase(name="{name}", title="T", kind="number", features="features_place_1m", columns=("temperature_avg",),
    label=Label(measurement="temperature"), candidates=(Linear(),){more})
"""


def write(folder: Path, name: str, more: str = "", body: str = GOOD) -> Path:
    path = folder / f"{name}.py"
    path.write_text(body.format(name=name, more=more))
    return path


def test_the_built_in_ones_and_a_folder_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, "comfort")
    assert list(load_use_cases(tmp_path)) == ["comfort", "fan_speed", "water_flow"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (", colums=('x',)", "UseCase: colums: there is no such field; UseCase has name, title"),
        (", kind='guess'", "SyntaxError"),
        (", holdout=2", "holdout: Input should be less than 0.9"),
        (", gate={'over_base': 1}", "gate.over_base: there is no such field"),
        (", classes=(0, 1)", "kind 'number' has no classes"),
        (", relative_to='humidity_avg'", "relative_to 'humidity_avg' is not among columns: temperature_avg"),
        (", places='['", "unterminated character set"),
        (", unit=undefined", "NameError"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, more: str, says: str) -> None:
    path = write(tmp_path, "comfort", more)
    with pytest.raises(DeclarationError) as refusal:
        load_use_cases(tmp_path)
    assert str(path) in str(refusal.value)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_one_device_holds_a_label_only_where_something_is_measured() -> None:
    with pytest.raises(ValidationError, match="sensor needs a measurement"):
        Label(sensor="iot_sensor_0")


def test_only_a_number_is_relative_to_a_column() -> None:
    fan = load_use_cases()["fan_speed"]
    with pytest.raises(ValidationError, match="relative_to is for kind 'number' only"):
        UseCase.model_validate({**fan.model_dump(), "relative_to": fan.columns[0]})


def test_a_name_stands_once(tmp_path: Path) -> None:
    write(tmp_path, "fan_speed")
    with pytest.raises(DeclarationError, match=r"fan_speed\.py: name: a use case named 'fan_speed' stands in .*fan_speed.py already"):
        load_use_cases(tmp_path)


def test_a_file_without_a_use_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(DeclarationError, match=r"empty\.py: declares no UseCase"):
        load_use_cases(tmp_path)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="MLIOT_USECASES"):
        load_use_cases(tmp_path / "nowhere")


def test_places_are_matched_whole() -> None:
    fan = load_use_cases()["fan_speed"]
    assert [fan.serves(place) for place in ("000000000", "room-1", "water-1", "bedroom-1")] == [True, True, False, False]
