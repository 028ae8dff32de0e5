"""Numbers, units, links and ages as people read them."""

import pytest

from dashboard.view.wording import (
    MIN_OLD_MS,
    UNKNOWN_OLD_MS,
    answer_old_after_ms,
    number,
    reading_old_after_ms,
    trace_path,
    unit_after,
    with_unit,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (24.71, "24.7"), (61, "61"), (61.0, "61"), (101_325.0, "101,325"), (101_325.4, "101,325"), (420.4, "420"),
        (0.127, "0.127"), (2.345, "2.35"), (-3.21, "-3.21"), (0, "0"), (0.00012, "1.20e-04"), (-0.0, "0"),
    ],
)  # fmt: skip
def test_three_digits_matter(value: float, text: str) -> None:
    assert number(value) == text


def test_a_huge_number_is_still_a_line() -> None:
    assert len(number(1e300)) < 500


def test_a_unit_follows_unless_it_is_a_word() -> None:
    assert with_unit(24.71, "°C") == "24.7\u202f°C"
    assert with_unit(2, "level") == "level 2"
    assert with_unit(2, "") == "2"
    assert (unit_after("level"), unit_after("lx")) == ("", "lx")


def test_an_id_survives_its_link() -> None:
    assert trace_path("a/b@17#0f+x:1") == "/trace/a%2Fb%4017%230f%2Bx%3A1"


def test_a_reading_is_old_after_three_missed_frames_but_never_at_once() -> None:
    assert reading_old_after_ms(3_600_000) == 3 * 3_600_000
    assert reading_old_after_ms(100) == MIN_OLD_MS
    assert reading_old_after_ms(None) == UNKNOWN_OLD_MS


def test_a_prediction_is_old_after_two_windows_without_a_new_one() -> None:
    assert answer_old_after_ms(60_000) == 150_000
