import gzip
from pathlib import Path
from typing import Any

import pytest

from devices.mapping import Recording, TableMapping, load_recording
from devices.table import Row, Table, read_rows, shifted
from mliot.errors import DeclarationError
from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.messages import DeadLetter

KNOWN = load_measurements()
NOW_MS = 1_764_001_234_567
HOUR_MS = 3_600_000


def recording(table: Path, **changed: Any) -> Recording:
    fields = {
        "source": table.name,
        "time": {"column": "at"},
        "device": "d",
        "place_id": "p",
        "columns": {"t": {"measurement": "temperature"}, "h": {"measurement": "humidity"}},
    }
    return Recording("test", table, TableMapping.model_validate(fields | changed))


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "t.csv"
    file.write_text(text)
    return file


def test_rows_in_time_order_with_empty_and_nan_cells_left_out(tmp_path: Path) -> None:
    file = written(tmp_path, "at,t,h\n1970-01-01T00:00:02,21,50\n1970-01-01T01:00:01+01:00,20,\n1970-01-01 00:00:03Z,nan,\n")
    assert read_rows(recording(file)) == [Row(1000, {"temperature": 20}), Row(2000, {"temperature": 21, "humidity": 50})]


@pytest.mark.parametrize(
    ("form", "cell"),
    [("seconds", "1.5"), ("milliseconds", "1500"), ("%d.%m.%Y %H:%M:%S.%f", "01.01.1970 00:00:01.5"), ("iso", "1970-01-01T00:00:01.500")],
)
def test_times_in_any_form(tmp_path: Path, form: str, cell: str) -> None:
    file = written(tmp_path, f"at;t;h\n{cell};1;1\n")
    assert read_rows(recording(file, delimiter=";", time={"column": "at", "format": form}))[0].at_ms == 1500


def test_scale_offset_and_row_names_as_r_writes_them(tmp_path: Path) -> None:
    file = written(tmp_path, '"at","f"\n"1",1970-01-01,212\n')
    columns = {"f": {"measurement": "temperature", "scale": 5 / 9, "offset": -160 / 9}}
    assert read_rows(recording(file, columns=columns))[0].readings["temperature"] == pytest.approx(100)


def test_a_gzipped_table(tmp_path: Path) -> None:
    file = tmp_path / "t.csv.gz"
    file.write_bytes(gzip.compress(b"at,t,h\n1970-01-01,1,1\n"))
    assert len(read_rows(recording(file))) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("at,t,h\n1970-01-01,1,1\n1970-01-01,warm,1\n", r"line 3: column 't': 'warm' is not a number"),
        ("at,t,h\nyesterday,1,1\n", r"line 2: column 'at': 'yesterday' is no time in the format 'iso'"),
        ("at,t\n1970-01-01,1\n", r"no column 'h'; it has 'at', 't'"),
        ("at,t,h\n", "holds no readings"),
        ("", "no column"),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DeclarationError, match=says) as caught:
        read_rows(recording(written(tmp_path, text)))
    assert "t.csv" in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"absent\.csv: cannot be read"):
        read_rows(recording(tmp_path / "absent.csv"))


def rows_at(*hours: float) -> list[Row]:
    return [Row(round(hour * HOUR_MS), {"temperature": 20}) for hour in hours]


def test_shifted_history_ends_now_and_the_rest_follows() -> None:
    """
    recorded  0h 1h 2h | 4h 5h      live_rows=2
    now 12:34 -> 10 11 12 | 14 15   aligned to the hour
    """
    times = shifted(rows_at(0, 1, 2, 4, 5), live_rows=2, speed=1, now_ms=NOW_MS, align_ms=HOUR_MS)
    present = NOW_MS // HOUR_MS * HOUR_MS
    assert [(at_ms - present) / HOUR_MS for at_ms in times] == [-2, -1, 0, 2, 3]


def test_speed_divides_only_what_is_live() -> None:
    times = shifted(rows_at(0, 1, 2, 4, 5), live_rows=2, speed=60, now_ms=NOW_MS)
    assert [at_ms - NOW_MS for at_ms in times] == [-2 * HOUR_MS, -HOUR_MS, 0, 120_000, 180_000]


def test_more_live_rows_than_rows_start_now() -> None:
    assert shifted(rows_at(3, 4), live_rows=10, speed=1, now_ms=0) == [0, HOUR_MS]


def test_spans_join_without_gap_or_double() -> None:
    rows = rows_at(0, 1, 2, 3)
    table = Table(recording(Path("t.csv")), rows, [row.at_ms for row in rows], KNOWN)
    spans = [(-1, 0), (0, HOUR_MS - 1), (HOUR_MS - 1, 2 * HOUR_MS), (2 * HOUR_MS, 9 * HOUR_MS)]
    assert [outgoing.event_ms for span in spans for outgoing in table.frames(*span)] == [row.at_ms for row in rows]


def test_rows_are_frames_and_implausible_ones_known_dead_letters() -> None:
    rows = [Row(NOW_MS, {"temperature": 20.5}), Row(NOW_MS + 1, {"temperature": 500})]
    sound, dead = Table(recording(Path("t.csv")), rows, [NOW_MS, NOW_MS + 1], KNOWN).frames(0, NOW_MS + 1)
    frame = parse_frame(sound.message, mqtt_topic=sound.topic, arrived_ms=NOW_MS, measurements=KNOWN, retention_ms=10**9)
    assert (frame.frame_id, frame.device, frame.place_id, frame.payload) == (sound.id, "d", "p", {"temperature": 20.5})
    assert dead.broken
    assert dead.id == DeadLetter.of(dead.message, source="iot/d/frames", service="bridge", reason="", at_ms=0).dead_id


def test_the_water_flow_series_is_whole() -> None:
    water = load_recording("water_flow")
    rows = read_rows(water)
    assert len(rows) == 1268
    assert {name for row in rows for name in row.readings} == {"water_flow"}
    assert all(row.at_ms % HOUR_MS == 0 for row in rows)
