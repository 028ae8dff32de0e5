"""Live scores, in the metric of the task that trained the model."""

import pytest

from dashboard.data.rows import Scored
from dashboard.data.scores import Score, family, score
from learning.tasks import load_task


def scored(value: float, baseline: float | None, label: float) -> Scored:
    return Scored("v", value, baseline, label)


def test_model_and_baseline_are_scored_over_the_same_rows() -> None:
    rows = [scored(1, None, 9), scored(2, 4, 3), scored(5, 5, 6)]
    assert score(load_task("regression"), rows) == Score(rows=2, model=1.0, baseline=1.0)


def test_without_any_baseline_the_model_is_scored_alone() -> None:
    assert score(load_task("regression"), [scored(1, None, 3)]) == Score(rows=1, model=2.0, baseline=None)


def test_without_rows_there_is_no_score() -> None:
    assert score(load_task("classification"), []) is None


@pytest.mark.parametrize(
    ("kind", "model", "baseline", "ahead"),
    [
        ("classification", 0.9, 0.5, True),
        ("classification", 0.4, 0.5, False),
        ("regression", 0.9, 0.5, False),
        ("regression", 0.1, 0.5, True),
        ("classification", 0.5, 0.5, None),
    ],
)
def test_f1_is_better_high_and_an_error_is_better_low(kind: str, model: float, baseline: float, ahead: bool | None) -> None:
    assert Score(10, model, baseline).beats_baseline(load_task(kind)) is ahead


def test_versions_of_the_online_learner_are_one_family_and_others_are_their_own() -> None:
    assert family("online-691") == "online"
    assert family("20251124-160000-0a1b2c3d") == "20251124-160000-0a1b2c3d"
    assert family("online-x") == "online-x"
