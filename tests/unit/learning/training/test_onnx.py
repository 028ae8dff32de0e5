"""Every declared estimator converts to ONNX that answers as the native model does."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from learning.scoring import Scorer
from learning.tasks import load_task
from learning.training.estimators import build, described, fit
from learning.training.onnx import convert, p99_ms
from learning.training.rows import NotEnoughRows, Rows, read_rows
from mliot.usecase import Estimator, HistGradientBoosting, Linear, RandomForest
from usecases import load_use_cases

FAN = load_use_cases()["fan_speed"]
FLOW = load_use_cases()["water_flow"]
CLASSES = load_task("classification")
NUMBERS = load_task("regression")
ESTIMATORS: list[Estimator] = [
    RandomForest(trees=20, depth=8),
    RandomForest(trees=5, depth=None, leaf=1),
    HistGradientBoosting(iterations=20),
    Linear(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=described)
@pytest.mark.parametrize("use_case", [FAN, FLOW], ids=lambda use_case: use_case.kind)
def test_onnx_answers_as_the_native_model(estimator: Estimator, use_case, make_table) -> None:
    task, rows = load_task(use_case.kind), read_rows(use_case, make_table(use_case, 600))
    pipeline = fit(estimator, task, rows).pipeline
    model = convert(pipeline, task, use_case.columns)
    scorer = Scorer(model, kind=use_case.kind, columns=len(use_case.columns))
    fresh = read_rows(use_case, make_table(use_case, 600, seed=1)).values
    assert task.parity(pipeline, fresh, scorer.score(fresh).values) <= (0 if use_case.classes else 1e-5)
    (columns,) = (entry.value for entry in onnx.load_from_string(model).metadata_props if entry.key == "columns")
    assert tuple(columns.split("\n")) == use_case.columns


def test_probability_is_that_of_the_answer(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 400))
    pipeline = fit(Linear(), CLASSES, rows).pipeline
    scores = Scorer(convert(pipeline, CLASSES, FAN.columns), kind="classification", columns=len(FAN.columns)).score(rows.values)
    assert scores.probabilities == pytest.approx(pipeline.predict_proba(rows.values).max(axis=1), abs=1e-5)


def test_two_classes_convert_too(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 400))
    two = rows.where(rows.labels < 2)
    for estimator in ESTIMATORS:
        pipeline = fit(estimator, CLASSES, two).pipeline
        scorer = Scorer(convert(pipeline, CLASSES, FAN.columns), kind="classification", columns=len(FAN.columns))
        assert CLASSES.parity(pipeline, two.values, scorer.score(two.values).values) == 0


def test_boosting_thresholds_between_neighbouring_floats_go_the_same_way() -> None:
    """Pressures in Pa are so large that single precision has neighbours 0.0078 apart: every threshold lies between two of them."""
    neighbours = (np.float32(101_325) + np.arange(200, dtype=np.float32) * np.float32(2**-7)).astype(np.float32)
    values = np.repeat(neighbours, 5)[:, None]
    rows = Rows(
        feature_ids=np.arange(len(values)).astype(object),
        end_ms=np.arange(len(values)),
        available_ms=np.arange(len(values)),
        values=values,
        labels=np.random.default_rng(0).normal(size=200).repeat(5),
        baseline=np.zeros(len(values)),
    )
    pipeline = fit(HistGradientBoosting(iterations=30, leaves=64), NUMBERS, rows).pipeline
    scorer = Scorer(convert(pipeline, NUMBERS, ["pressure_avg"]), kind="regression", columns=1)
    assert NUMBERS.parity(pipeline, values, scorer.score(values).values) < 1e-5


def test_a_column_that_was_never_read_converts(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 300))
    rows.values[:, 2] = np.nan
    for estimator in ESTIMATORS:
        pipeline = fit(estimator, CLASSES, rows).pipeline
        scorer = Scorer(convert(pipeline, CLASSES, FAN.columns), kind="classification", columns=len(FAN.columns))
        assert CLASSES.parity(pipeline, rows.values, scorer.score(rows.values).values) == 0


def test_parity_sees_a_difference(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 400))
    few, many = (fit(RandomForest(trees=trees, depth=depth), CLASSES, rows).pipeline for trees, depth in ((1, 1), (20, 8)))
    scorer = Scorer(convert(few, CLASSES, FAN.columns), kind="classification", columns=len(FAN.columns))
    assert CLASSES.parity(many, rows.values, scorer.score(rows.values).values) > 0.05


def test_a_tie_broken_the_other_way_is_no_difference(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 400, missing=0))
    rows = replace(rows, values=np.ones_like(rows.values), labels=np.arange(400.0) % 2)
    pipeline = fit(RandomForest(trees=1, depth=1), CLASSES, rows).pipeline
    pipeline.named_steps["model"].estimators_[0].tree_.value[:] = 0.5
    scorer = Scorer(convert(pipeline, CLASSES, FAN.columns), kind="classification", columns=len(FAN.columns))
    pipeline.named_steps["model"].estimators_[0].tree_.value[0, 0] = [0.5 - 1e-7, 0.5 + 1e-7]
    assert pipeline.predict(rows.values[:1]) != scorer.score(rows.values[:1]).values
    assert CLASSES.parity(pipeline, rows.values, scorer.score(rows.values).values) == 0


def test_same_rows_same_model(make_table) -> None:
    rows = read_rows(FLOW, make_table(FLOW, 300))
    for estimator in ESTIMATORS:
        one, two = (fit(estimator, NUMBERS, rows).pipeline.predict(rows.values) for _ in range(2))
        assert np.array_equal(one, two)


def test_one_class_is_not_enough(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 100))
    with pytest.raises(NotEnoughRows, match="have the label 1"):
        fit(Linear(), CLASSES, rows.where(rows.labels == 1))


def test_a_warning_is_kept_not_raised(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 200))
    rows.values[:, 2] = np.where(np.arange(200) % 2, 3e38, -3e38)  # its variance overflows
    warned = fit(Linear(), CLASSES, rows).warned
    assert any(text.startswith("RuntimeWarning: ") for text in warned), warned


def test_build_scales_for_the_linear_model_only() -> None:
    assert [list(build(estimator, CLASSES).named_steps) for estimator in (RandomForest(), HistGradientBoosting(), Linear())] == [
        ["imputer", "model"],
        ["imputer", "model"],
        ["imputer", "scaler", "model"],
    ]


def test_latency_is_positive_and_small(make_table) -> None:
    rows = read_rows(FAN, make_table(FAN, 200))
    scorer = Scorer(convert(fit(Linear(), CLASSES, rows).pipeline, CLASSES, FAN.columns), kind="classification", columns=len(FAN.columns))
    assert 0 < p99_ms(scorer, rows.values, calls=50) < 1000
