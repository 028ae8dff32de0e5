"""From table to candidate: what is chosen, what the gate is told, and how a champion is judged beside it."""

from pathlib import Path

import numpy as np
import pytest

from learning.gate import judge
from learning.scoring import Scorer
from learning.store import ModelStore
from learning.training.rows import NotEnoughRows
from learning.training.train import Candidate, train
from mliot.usecase import HistGradientBoosting, Linear, RandomForest, UseCase
from usecases import load_use_cases

FAST = {"candidates": (RandomForest(trees=20, depth=8), HistGradientBoosting(iterations=20), Linear())}
FAN = load_use_cases()["fan_speed"].model_copy(update=FAST)
FLOW = load_use_cases()["water_flow"].model_copy(update=FAST)


def trained(use_case: UseCase, table, **more) -> Candidate:
    return train(use_case, table, feature_version="feature-1", created_ms=1_764_000_000_000, **more)


def test_a_class_candidate_passes_the_gate(make_table) -> None:
    candidate = trained(FAN, make_table(FAN, 1200))
    card, evidence = candidate.card, candidate.card.evidence
    assert judge(FAN.gate, evidence).passed, judge(FAN.gate, evidence).reasons
    assert card.interval is None
    assert card.metrics["macro_f1"] == pytest.approx(1 - evidence.loss, abs=1e-6)
    assert card.metrics["baseline_macro_f1"] < card.metrics["macro_f1"]
    assert card.data.rows == 1200
    assert card.estimator == min(candidate.tried, key=lambda tried: tried.loss).estimator
    assert evidence.rows == len(candidate.judged.labels) == 300
    assert 20 < (card.typical["temperature_avg"] or 0) < 30


def test_a_number_candidate_has_an_interval_that_covers(make_table) -> None:
    candidate = trained(FLOW, make_table(FLOW, 1200))
    interval = candidate.card.interval
    assert interval is not None
    inside = np.abs(candidate.judged.labels - candidate.judged.candidate) <= interval.half_width
    assert inside.mean() > 0.8
    assert (interval.coverage, interval.measured, interval.rows) == (0.9, round(inside.mean(), 4), 300)
    assert candidate.card.metrics.keys() == {"mae", "baseline_mae"}


def test_the_card_tells_what_the_answers_are_relative_to(make_table) -> None:
    table = make_table(FLOW, 300)
    assert trained(FLOW, table).card.estimator.endswith(") on the change from water_flow_avg")
    assert trained(FLOW.model_copy(update={"relative_to": None}), table).card.estimator.endswith(")")


def test_the_model_in_the_candidate_gave_the_judged_answers(make_table) -> None:
    candidate = trained(FLOW, make_table(FLOW, 400, missing=0))
    scorer = Scorer(candidate.onnx, kind="regression", columns=len(FLOW.columns))
    newest = make_table(FLOW, 400, missing=0).slice(300)
    values = np.column_stack([newest[column].to_numpy() for column in FLOW.columns]).astype(np.float32)
    assert scorer.score(values).values == pytest.approx(candidate.judged.candidate)


def test_the_champion_is_scored_on_the_same_rows(make_table, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first = trained(FAN, make_table(FAN, 600, noise=20))
    store.move(FAN.name, "champion", store.save(first.card, first.onnx), who="test", why="first")

    better = trained(FAN, make_table(FAN, 1200), champion=store.in_charge(FAN.name))
    assert better.judged.champion is not None
    assert len(better.judged.champion) == len(better.judged.candidate) == len(better.judged.baseline)
    assert better.card.evidence.champion_loss is not None
    assert better.card.evidence.champion_loss > better.card.evidence.loss
    assert judge(FAN.gate, better.card.evidence).passed

    store.move(FAN.name, "champion", store.save(better.card, better.onnx), who="test", why="better")
    worse = trained(
        FAN.model_copy(update={"candidates": (RandomForest(trees=1, depth=1),)}), make_table(FAN, 1200), champion=store.in_charge(FAN.name)
    )
    assert [check.name for check in judge(FAN.gate, worse.card.evidence).checks if check.outcome != "passed"] == ["over_champion"]


def test_a_champion_with_columns_no_longer_declared_is_told_not_compared(make_table, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first = trained(FAN, make_table(FAN, 400))
    store.move(FAN.name, "champion", store.save(first.card, first.onnx), who="test", why="first")
    fewer = FAN.model_copy(update={"columns": FAN.columns[1:]})
    candidate = trained(fewer, make_table(FAN, 400), champion=store.in_charge(FAN.name))
    assert candidate.card.evidence.champion_loss is None
    assert "no longer declared" in candidate.notes[0]


def test_a_champion_with_some_of_the_columns_is_compared(make_table, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    fewer = FAN.model_copy(update={"columns": FAN.columns[3:1:-1]})
    first = trained(fewer, make_table(FAN, 400))
    store.move(FAN.name, "champion", store.save(first.card, first.onnx), who="test", why="first")
    candidate = trained(FAN, make_table(FAN, 400), champion=store.in_charge(FAN.name))
    assert candidate.card.evidence.champion_loss == pytest.approx(first.card.evidence.loss)


def test_failed_tests_and_faults_reach_the_gate(make_table) -> None:
    table = make_table(FAN, 400)
    twice = table.set_column(0, "feature_id", [["same"] * 400])
    candidate = trained(FAN, twice, failed_tests=["not_null_label"])
    assert candidate.card.evidence.failed_tests == ("not_null_label", "399 feature rows stand in the table twice")
    assert not judge(FAN.gate, candidate.card.evidence).passed


def test_same_table_same_model(make_table) -> None:
    one, two = (trained(FAN, make_table(FAN, 400)) for _ in range(2))
    assert one.onnx == two.onnx
    assert one.card.data == two.card.data


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_too_few_rows_say_so(make_table, rows: int) -> None:
    table = make_table(FAN, 20).slice(0, rows)
    with pytest.raises(NotEnoughRows):
        trained(FAN, table)
