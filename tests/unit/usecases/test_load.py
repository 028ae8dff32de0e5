"""A use case is a file; a mistake in it is one line that names file, field and what is allowed."""

from pathlib import Path

import pytest

from mliot.errors import DeclarationError
from usecases import load_use_cases

GOOD = """
from mliot.usecase import Label, Linear, UseCase

{name} = UseCase(name="{name}", title="T", kind="{kind}", features="features_place_1m", columns=("temperature_avg",),
    label=Label(measurement="temperature"), candidates=(Linear(),){more})
"""


def write(folder: Path, name: str, more: str = "", kind: str = "regression") -> Path:
    path = folder / f"{name}.py"
    path.write_text(GOOD.format(name=name, more=more, kind=kind))
    return path


def test_the_built_in_ones_and_a_folder_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, "comfort")
    assert list(load_use_cases(tmp_path)) == ["comfort", "fan_speed", "water_flow"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (", colums=('x',)", "UseCase: colums: there is no such field; UseCase has name, title"),
        (", kind='guess'", "SyntaxError"),
        (", holdout=2", "holdout: must be less than 0.9"),
        (", gate={'over_base': 1}", "gate.over_base: there is no such field"),
        (", classes=(0, 1)", "UseCase: kind 'regression' has no classes"),
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


@pytest.mark.parametrize(
    ("kind", "more", "says"),
    [
        ("guess", "", "UseCase: kind 'guess': there is none of that name; there are classification, regression"),
        ("../os", "", "UseCase: kind '../os': there is none of that name"),
        ("task", "", "UseCase: kind 'task': there is none of that name"),
        ("class", "", "UseCase: kind 'class' is called 'classification' now"),
        ("number", "", "UseCase: kind 'number' is called 'regression' now"),
        ("classification", "", "UseCase: kind 'classification' needs classes, two or more whole numbers"),
        ("classification", ", classes=(1,)", "UseCase: kind 'classification' needs classes, two or more whole numbers"),
        (
            "classification",
            ", classes=(0, 1), relative_to='temperature_avg'",
            "UseCase: relative_to is not for kind 'classification': a class is not a sum",
        ),
    ],
)
def test_the_task_says_what_a_use_case_of_its_kind_needs(tmp_path: Path, kind: str, more: str, says: str) -> None:
    path = write(tmp_path, "comfort", more, kind)
    with pytest.raises(DeclarationError) as refusal:
        load_use_cases(tmp_path)
    assert str(refusal.value).startswith(f"{path}: {says}")


def test_a_name_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    path = write(tmp_path, "Comfort")
    with pytest.raises(DeclarationError) as refusal:
        load_use_cases(tmp_path)
    words = "must begin with a letter a to z and hold only those, digits and _, at most 40 in all"
    assert str(refusal.value) == f"{path}: UseCase: name: {words}"


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
