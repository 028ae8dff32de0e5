from pathlib import Path

import pytest

from devices.mapping import BUILT_IN, load_recording
from mliot.errors import DeclarationError

GOOD = """
source: t.csv
time: {column: at}
device: d
place_id: p
columns: {a: {measurement: temperature}}
"""


@pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.yaml")))
def test_built_in_mappings_are_found_by_name(name: str) -> None:
    assert load_recording(name).name == name


def test_a_file_of_ones_own_names_a_table_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    recording = load_recording(str(file))
    assert recording.table == tmp_path / "t.csv"
    assert recording.mapping.mqtt_topic == "iot/d/frames"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "speling: 1", r"speling: .*a mapping has source, delimiter"),
        (GOOD.replace("device: d", "device: a/b"), "device: "),
        (GOOD.replace("measurement: temperature", "measurement: 1x"), r"columns\.a\.measurement"),
        (GOOD.replace("t.csv", "river:Nothing"), "river has no data set 'Nothing'"),
        ("a: [", "is not YAML"),
        ("", "a mapping has"),
    ],
)
def test_a_wrong_mapping_is_named_with_file_and_field(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(DeclarationError, match=says) as caught:
        load_recording(str(file))
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DeclarationError, match=r"one of .*water_flow"):
        load_recording("nothing")
