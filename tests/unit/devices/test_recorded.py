from pathlib import Path
from typing import Any

import pytest

from devices.mapping import Recording, TableMapping
from devices.recorded import paced
from devices.table import Row, Table

FIELDS: dict[str, Any] = {
    "source": "t.csv",
    "time": {"column": "at"},
    "device": "d",
    "place_id": "p",
    "columns": {"t": {"measurement": "t"}},
}
START_MS = 1_000_000


def due(times: list[int], *, speed: float, keep: bool) -> list[int]:
    rows = [Row(at_ms, {"t": 1.0}) for at_ms in times]
    table = Table(Recording("r", Path("t.csv"), TableMapping.model_validate(FIELDS)), rows, times, {})
    moments = list(paced(table, started_ms=START_MS, speed=speed, keep=keep))
    assert [moment.outgoing.event_ms for moment in moments] == times
    return [moment.at_ms - START_MS for moment in moments]


@pytest.mark.parametrize(
    ("speed", "keep", "expected"),
    [
        (1, True, [0, 500, 2000]),
        (10, True, [0, 50, 200]),
        (0, True, [0, 0, 0]),
    ],
)
def test_kept_times_set_the_pace(speed: float, keep: bool, expected: list[int]) -> None:
    assert due([7000, 7500, 9000], speed=speed, keep=keep) == expected


def test_shifted_times_are_their_own_moments_and_the_past_goes_at_once() -> None:
    assert due([START_MS - 5000, START_MS, START_MS + 300], speed=10, keep=False) == [0, 0, 300]
