"""The split by time.

fit            | gap | calibration | gap | holdout ->
label known by here ^             and here ^
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.training.rows import NotEnoughRows, Rows
from learning.training.split import split_by_time


def rows_at(end_ms: list[int], delay_ms: int) -> Rows:
    ends = np.array(sorted(end_ms), dtype=np.int64)
    count = len(ends)
    return Rows(
        feature_ids=np.array([f"row-{n}" for n in range(count)], dtype=object),
        end_ms=ends,
        available_ms=ends + delay_ms,
        values=np.zeros((count, 1), np.float32),
        labels=np.zeros(count),
        baseline=np.zeros(count),
    )


def test_without_delay_the_newest_quarter_is_held_out() -> None:
    split = split_by_time(rows_at(list(range(100)), 0), 0.25)
    assert split.holdout.end_ms.tolist() == list(range(75, 100))
    assert split.calibration.end_ms.tolist() == list(range(60, 75))
    assert split.fit.end_ms.tolist() == list(range(60))


def test_rows_whose_label_was_under_way_are_left_out() -> None:
    split = split_by_time(rows_at(list(range(100)), 10), 0.25)
    assert split.holdout.end_ms[0] == 75
    assert split.calibration.end_ms[-1] == 65  # available at 75
    assert split.fit.available_ms[-1] <= split.calibration.end_ms[0]
    assert len(split.fit) + len(split.calibration) + len(split.holdout) == 100 - 9 - 9


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=200),
    st.integers(0, 100),
    st.floats(0.01, 0.89),
)
def test_no_label_is_learnt_before_it_was_known(ends: list[int], delay_ms: int, holdout: float) -> None:
    rows = rows_at(ends, delay_ms)
    try:
        split = split_by_time(rows, holdout)
    except NotEnoughRows:
        return
    for earlier, later in ((split.fit, split.calibration), (split.calibration, split.holdout), (split.fit, split.holdout)):
        assert earlier.available_ms.max() <= later.end_ms.min()
        assert earlier.end_ms.max() < later.end_ms.min()
    assert split.holdout.end_ms[-1] == max(ends)


@pytest.mark.parametrize("ends", [[], [1], [5] * 50])
def test_too_little_to_split_says_so(ends: list[int]) -> None:
    with pytest.raises(NotEnoughRows):
        split_by_time(rows_at(ends, 0), 0.25)


def test_a_delay_longer_than_the_table_says_so() -> None:
    with pytest.raises(NotEnoughRows, match=r"none of the 100 labelled rows was known before 1970-01-01T00:00:00.075Z"):
        split_by_time(rows_at(list(range(100)), 1000), 0.25)
