"""Rows to matrix and scores to answers."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.card import DataSnapshot, Interval, ModelCard
from learning.gate import Evidence
from learning.tasks.task import Scores
from serving.problems import Refused
from serving.rows import matrix, predictions

COLUMNS = ("temperature_avg", "humidity_avg", "pressure_avg")


def card(kind: str = "classification", interval: Interval | None = None) -> ModelCard:
    return ModelCard(
        use_case="fan_speed",
        title="Fan speed",
        kind=kind,  # type: ignore[arg-type]
        unit="level",
        classes=(0, 1),
        features="features_place_1m",
        columns=COLUMNS,
        feature_version="f",
        estimator="e",
        data=DataSnapshot(rows=1, first_ms=0, last_ms=1, digest=""),
        typical={},
        metrics={},
        evidence=Evidence(rows=1, loss=0, baseline_loss=1, champion_loss=None, parity=0, p99_ms=0, size_mb=0),
        interval=interval,
        created_ms=0,
        libraries={},
    )


def row(**changes: float | None) -> dict[str, float | None]:
    return {"temperature_avg": 1.0, "humidity_avg": 2.0, "pressure_avg": 3.0, **changes}


@given(st.lists(st.tuples(*[st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)] * 3), min_size=1, max_size=20))
def test_every_value_lands_in_its_column(values: list[tuple[float | None, ...]]) -> None:
    rows = [dict(reversed(list(zip(COLUMNS, one, strict=True)))) for one in values]
    expected = np.array([[np.nan if value is None else value for value in one] for one in values], dtype=np.float32)
    assert np.array_equal(matrix(rows, card()), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "field", "says"),
    [
        (
            [row(), row(temprature_avg=1.0)],
            "rows[1].temprature_avg",
            "is not a column of fan_speed, which has temperature_avg, humidity_avg",
        ),
        ([{"temperature_avg": 1.0, "pressure_avg": 1.0}], "rows[0].humidity_avg", "is missing; null says that there is no reading"),
        ([{}], "rows[0].temperature_avg", "is missing"),
        ([row(), row(), row(pressure_avg=-1e39)], "rows[2].pressure_avg", "must be between -3.4e+38 and 3.4e+38"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_name(rows: list[dict[str, float | None]], field: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        matrix(rows, card())
    assert refused.value.status == 422
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert says in str(refused.value)


def test_a_long_unknown_name_is_cut() -> None:
    with pytest.raises(Refused) as refused:
        matrix([row(**{"x" * 10_000: 1.0})], card())
    assert len(str(refused.value)) < 300


def test_classes_are_whole_numbers_with_a_probability() -> None:
    one, two = predictions(Scores(np.array([2.0, 0.0]), np.array([0.75, 0.5])), card())
    assert one.model_dump() == {"value": 2, "probability": 0.75, "low": None, "high": None}
    assert isinstance(one.value, int)
    assert two.value == 0


def test_numbers_have_the_cards_interval() -> None:
    (one,) = predictions(Scores(np.array([10.0]), None), card("regression", Interval(half_width=1.5, coverage=0.9)))
    assert one.model_dump() == {"value": 10.0, "probability": None, "low": 8.5, "high": 11.5}
    (bare,) = predictions(Scores(np.array([10.0]), None), card("regression"))
    assert (bare.low, bare.high) == (None, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_finite_answer_holds_up_no_other(value: float) -> None:
    one, two = predictions(Scores(np.array([1.0, value]), None), card("regression", Interval(half_width=1.5, coverage=0.9)))
    assert (one.value, two.value) == (1.0, None)
    assert json.loads(two.model_dump_json()) == {"value": None, "probability": None, "low": None, "high": None}
