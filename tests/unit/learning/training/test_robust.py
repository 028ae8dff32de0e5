"""Numbers are learnt robustly: a burst in the labels moves no answer far, whatever the label's unit."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from learning.models.huber import StandardHuber
from learning.tasks import load_task
from learning.training.estimators import described, fit
from learning.training.rows import read_rows
from mliot.usecase import Estimator, HistGradientBoosting, Linear, RandomForest
from usecases import load_use_cases

FLOW = load_use_cases()["water_flow"]
NUMBERS = load_task("regression")


@pytest.mark.parametrize("estimator", [HistGradientBoosting(iterations=50), Linear()], ids=described)
def test_a_burst_in_the_labels_is_not_chased(estimator: Estimator, make_table) -> None:
    rows, fresh = (read_rows(FLOW, make_table(FLOW, 600, seed=seed, missing=0)) for seed in (0, 1))
    burst = rows.labels.copy()
    burst[100:130] += 1000
    clean, disturbed = (
        NUMBERS.loss(fresh.labels, fit(estimator, NUMBERS, replace(rows, labels=labels)).pipeline.predict(fresh.values))
        for labels in (rows.labels, burst)
    )
    assert disturbed < 1.3 * clean  # fitted to squared errors: over 80 times as much


def test_each_tree_of_a_forest_answers_with_medians(make_table) -> None:
    rows = read_rows(FLOW, make_table(FLOW, 300))
    alike = replace(rows, values=np.ones_like(rows.values), labels=np.where(np.arange(300) % 10, 1.0, 1000.0))
    assert fit(RandomForest(trees=20), NUMBERS, alike).pipeline.predict(alike.values[:1]) == pytest.approx(1.0)  # means: about 100


@pytest.mark.parametrize(("unit", "zero"), [(1e-4, 0.0), (300.0, 101_325.0), (1e8, 1e10)])
def test_huber_finds_the_same_line_in_every_unit(unit: float, zero: float) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 4))
    labels = values @ np.array([1.0, -2.0, 0.0, 3.0]) + random.standard_t(2, size=500)
    one, other = StandardHuber(max_iter=1000).fit(values, labels), StandardHuber(max_iter=1000).fit(values, unit * labels + zero)
    assert other.coef_ / unit == pytest.approx(one.coef_, abs=1e-3)
    assert (other.predict(values) - zero) / unit == pytest.approx(one.predict(values), abs=1e-3)
    assert other.scale_ / unit == pytest.approx(one.scale_, rel=1e-3)


@pytest.mark.parametrize("same", [0.6, 1.0])
def test_huber_takes_a_label_that_mostly_stands_still(same: float) -> None:
    random = np.random.default_rng(0)
    labels = np.where(random.random(300) < same, 5.0, 5 + random.normal(size=300))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = StandardHuber(max_iter=1000).fit(random.normal(size=(300, 3)), labels)
    assert model.predict(np.zeros((1, 3))) == pytest.approx(5.0, abs=1e-3)
