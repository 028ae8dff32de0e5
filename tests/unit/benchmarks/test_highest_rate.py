"""A rate counts as held where the newest prediction does not grow older."""

import pytest

from benchmarks.rows.highest_rate import is_level


@pytest.mark.parametrize(
    ("ages_ms", "level"),
    [
        ([200.0] * 40, True),
        ([float(200 + 5 * n) for n in range(40)], True),  # less than 10 ms a second
        ([float(200 + 20 * n) for n in range(40)], False),
        ([5000.0] * 10 + [200.0] * 30, True),  # it caught up
        ([200.0] * 30 + [900.0] * 10, False),
    ],
)
def test_ages_are_level_or_they_grow(ages_ms: list[float], level: bool) -> None:
    assert is_level(ages_ms) is level
