"""A declaration that cannot be used is told in one line: file, place, what is allowed."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mliot.declarations import read_yaml
from mliot.errors import DeclarationError
from mliot.measurements import load_measurements

NUMBERS = TypeAdapter(dict[str, int])


def test_a_file_is_read_as_declared_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: 1\n")
    (tmp_path / "b.yaml").write_text("")
    assert read_yaml(tmp_path / "a.yaml", NUMBERS, "") == {"one": 1}
    assert read_yaml(tmp_path / "b.yaml", NUMBERS, "") == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"one: [", "is not YAML: "),
        (b"one: \xff", "is not YAML: "),
        (b"one: many", "one: must be a valid integer"),
        (b"- 1", ": must be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "wrong.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        read_yaml(path, NUMBERS, "an entry is NAME: NUMBER")
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert told in line
    assert "\n" not in line
    assert line.endswith("; an entry is NAME: NUMBER") is ("must be" in told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("soil: {unit: '%', range: [0, 1]}\n# more\nsoil: {unit: '%', range: [0, 2]}\n", "soil is named twice, in lines 1 and 3"),
        ("soil:\n  unit: '%'\n  range: [0, 1]\n  unit: x\n", "unit is named twice, in lines 2 and 4"),
        ("{soil: {unit: x, range: [0, 1]}, soil: {unit: x, range: [0, 1]}}", "soil is named twice, in lines 1 and 1"),
    ],
)
def test_what_is_named_twice_is_named_with_file_and_lines(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "measurements.yaml"
    path.write_text(content)
    with pytest.raises(DeclarationError) as caught:
        load_measurements(path)
    assert str(caught.value) == f"{path}: {told}; one of them must go"


def test_the_same_name_in_two_mappings_is_no_repetition(tmp_path: Path) -> None:
    path = tmp_path / "measurements.yaml"
    path.write_text("soil: &as_ever {unit: x, range: [0, 1]}\npond: {<<: *as_ever, unit: y}\ntemperature: {unit: K, range: [0, 1]}\n")
    known = load_measurements(path)
    assert (known["pond"].unit, known["pond"].range, known["temperature"].unit) == ("y", (0, 1), "K")
