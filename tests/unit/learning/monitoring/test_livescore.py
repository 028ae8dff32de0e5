"""Live scores from answers and their labels."""

from learning.monitoring.livescore import Answered, LiveScore, live_scores
from usecases import load_use_cases


def test_each_model_and_role_is_scored_beside_the_baseline_over_the_same_answers() -> None:
    answered = [
        Answered("v2", True, value=3.0, baseline=1.0, label=2.0),
        Answered("v1", False, value=2.5, baseline=1.0, label=2.0),
        Answered("v1", False, value=2.0, baseline=2.0, label=2.0),
    ]
    assert live_scores(load_use_cases()["water_flow"], answered) == [
        LiveScore("v1", shadow=False, rows=2, loss=0.25, baseline_loss=0.5),
        LiveScore("v2", shadow=True, rows=1, loss=1.0, baseline_loss=1.0),
    ]


def test_classes_are_scored_by_macro_f1() -> None:
    answered = [Answered("v1", False, value=value, baseline=0.0, label=label) for value, label in ((0, 0), (1, 1), (1, 1))]
    (score,) = live_scores(load_use_cases()["fan_speed"], answered)
    assert score.loss == 0.0
    assert score.baseline_loss > 0.5


def test_no_answer_no_score() -> None:
    assert live_scores(load_use_cases()["fan_speed"], []) == []
