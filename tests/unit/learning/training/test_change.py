"""Learning the change from a column: the ONNX file adds the column back as the native model does, also where it is missing."""

import numpy as np
import onnx
import pytest

from learning.scoring import Scorer
from learning.tasks import load_task
from learning.tasks.task import Matrix
from learning.training.change import Change
from learning.training.estimators import build, described, fit
from learning.training.onnx import convert
from learning.training.rows import Rows, read_rows
from mliot.usecase import Estimator, HistGradientBoosting, Linear, RandomForest
from usecases import load_use_cases

FLOW = load_use_cases()["water_flow"]
NUMBERS = load_task("regression")
LEVEL = FLOW.columns.index("water_flow_lag_1")
"""Not the first column, so that one is picked, not merely the first taken."""
ESTIMATORS: list[Estimator] = [RandomForest(trees=20, depth=8), HistGradientBoosting(iterations=20), Linear()]


@pytest.fixture
def rows(make_table) -> Rows:
    return read_rows(FLOW, make_table(FLOW, 400))


def scorer_of(change: Change) -> Scorer:
    return Scorer(convert(change, NUMBERS, FLOW.columns), kind="regression", columns=len(FLOW.columns))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=described)
def test_onnx_adds_the_column_back_as_the_native_model_does(estimator: Estimator, rows: Rows, make_table) -> None:
    change = fit(estimator, NUMBERS, rows, relative_to=LEVEL).pipeline
    fresh = read_rows(FLOW, make_table(FLOW, 400, seed=1)).values
    fresh[::3, LEVEL] = np.nan
    fresh[0] = np.nan
    assert NUMBERS.parity(change, fresh, scorer_of(change).score(fresh).values) <= 1e-5
    assert np.isfinite(scorer_of(change).score(fresh).values).all()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=described)
def test_the_model_is_valid_onnx_with_the_declared_columns(estimator: Estimator, rows: Rows) -> None:
    model = onnx.load_from_string(convert(fit(estimator, NUMBERS, rows, relative_to=LEVEL).pipeline, NUMBERS, FLOW.columns))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props}["columns"].split("\n") == list(FLOW.columns)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=described)
def test_a_level_never_seen_is_followed(estimator: Estimator) -> None:
    values = np.linspace(0, 10, 200, dtype=np.float32)[:, None]
    change = Change(build(estimator, NUMBERS), 0).fit(values, values[:, 0] + 2.0)
    assert change.predict(np.full((1, 1), 1000, np.float32)) == pytest.approx(1002, abs=0.1)


def test_a_missing_level_is_the_median_of_the_rows_learnt_from(rows: Rows) -> None:
    change = fit(Linear(), NUMBERS, rows, relative_to=LEVEL).pipeline
    missing, filled = rows.values.copy(), rows.values.copy()
    missing[:, LEVEL], filled[:, LEVEL] = np.nan, np.nanmedian(rows.values[:, LEVEL])
    assert change.predict(missing) == pytest.approx(change.predict(filled))
    assert scorer_of(change).score(missing).values == pytest.approx(scorer_of(change).score(filled).values)


def test_a_level_that_was_never_read_leaves_the_label_itself_to_learn(rows: Rows) -> None:
    unread: Matrix = rows.values.copy()
    unread[:, LEVEL] = np.nan
    change = Change(build(Linear(), NUMBERS), LEVEL).fit(unread, rows.labels)
    assert change.predict(unread) == pytest.approx(build(Linear(), NUMBERS).fit(unread, rows.labels).predict(unread))
    assert NUMBERS.parity(change, unread, scorer_of(change).score(unread).values) <= 1e-5
