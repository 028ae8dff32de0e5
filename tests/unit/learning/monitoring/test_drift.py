"""Drift as Evidently measures it, and what it cannot measure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from learning.monitoring.drift import MIN_ROWS, Drift, TooFewRows, measure_drift


def rows(count: int, **shift: float) -> pd.DataFrame:
    """Normal values in three columns, each moved by so many of its standard deviations."""
    random = np.random.default_rng(1)
    return pd.DataFrame({name: random.normal(shift.get(name, 0.0), 1.0, count) for name in ("a", "b", "c")})


def test_a_moved_column_is_found_and_the_page_written(tmp_path: Path) -> None:
    page = tmp_path / "deep" / "drift.html"
    found = measure_drift(rows(400), rows(300, b=2.0), page)
    assert found.drifted == ("b",)
    assert found.distances["b"] == pytest.approx(2.0, abs=0.2)
    assert max(found.distances["a"], found.distances["c"]) < 0.2
    assert (found.reference_rows, found.current_rows, found.silent) == (400, 300, ())
    assert found.share == pytest.approx(1 / 3)
    assert not found.alarming
    assert b"<html" in page.read_bytes()[:2000].lower()


def test_the_method_does_not_change_with_the_number_of_rows(tmp_path: Path) -> None:
    few, many = (measure_drift(rows(count), rows(count, a=1.0), tmp_path / "d.html") for count in (200, 1500))
    assert few.distances["a"] == pytest.approx(many.distances["a"], abs=0.2)


def test_a_silent_column_is_told_apart_and_counts_as_drifted(tmp_path: Path) -> None:
    found = measure_drift(rows(100), rows(100).assign(b=np.nan, c=5.0), tmp_path / "d.html")
    assert found.silent == ("b",)
    assert found.drifted == ("c",)
    assert found.share == pytest.approx(2 / 3)
    assert found.alarming


@pytest.mark.parametrize(
    ("reference", "current", "reason"),
    [
        (rows(100), rows(MIN_ROWS - 1), f"not enough rows: {MIN_ROWS - 1} served, {MIN_ROWS} are needed"),
        (rows(0), rows(100), f"not enough rows: 0 reference, {MIN_ROWS} are needed"),
        (rows(100), rows(100) * np.nan, "not enough rows: no column has a value on both sides"),
    ],
)
def test_too_little_to_compare_is_said(reference: pd.DataFrame, current: pd.DataFrame, reason: str, tmp_path: Path) -> None:
    with pytest.raises(TooFewRows) as raised:
        measure_drift(reference, current, tmp_path / "d.html")
    assert str(raised.value) == reason
    assert not list(tmp_path.iterdir())


def test_the_farthest_column_comes_first() -> None:
    assert Drift(1, 1, {"a": 0.3, "b": 0.1, "c": 0.9}, ()).drifted == ("c", "a")
