"""What the candidate's page shows, and which data tests hold it back."""

from collections.abc import Callable

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned

from assets import keys
from assets.figures import as_markdown
from assets.training import candidates_table, failed_tests, interval_text
from learning.card import Interval
from learning.gate import Evidence
from learning.store import ModelStore
from learning.tasks import load_task
from learning.tasks.task import Judged
from learning.training.train import Candidate, Tried
from mliot.usecase import UseCase


def judged(use_case: UseCase, rows: int = 40) -> Judged:
    labels = np.arange(rows, dtype=float) % 4
    return Judged([1_764_000_000_000 + 60_000 * row for row in range(rows)], labels, np.roll(labels, 1), np.zeros(rows), None)


def test_the_interval_tells_what_was_asked_for_and_what_was_measured(use_case: UseCase) -> None:
    measured = Interval(half_width=0.51365, coverage=0.9, measured=0.8123, rows=315)
    assert interval_text(use_case, measured) == "plus or minus 0.5137 L/s; coverage 90% asked for, 81.2% of 315 later rows measured"
    assert interval_text(use_case, Interval(half_width=0.5, coverage=0.9)).endswith("90% asked for, not measured")


def test_the_table_shows_every_estimator_and_the_chosen_one_beside_baseline_and_champion(
    use_case: UseCase, store: ModelStore, save_constant_model: Callable[..., str]
) -> None:
    evidence = Evidence(rows=40, loss=0.5, baseline_loss=0.75, champion_loss=0.625, parity=0, p99_ms=1, size_mb=1)
    version = save_constant_model(store, use_case, 1.0, evidence=evidence, estimator="forest")
    card = store.get(use_case.name, version).card
    made = Candidate(card, b"", judged(use_case), (Tried("linear", 0.7, ()), Tried("forest", 0.4, ())), ())
    assert candidates_table(use_case, made).splitlines() == [
        "| who | rows | loss (mean absolute error, L/s) |",
        "|---|---|---|",
        "| forest **chosen** | calibration | 0.4 |",
        "| linear | calibration | 0.7 |",
        "| candidate | holdout | 0.5 |",
        "| baseline | holdout | 0.75 |",
        "| champion | holdout | 0.625 |",
    ]


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_answers_are_drawn_for_either_kind(use_case: UseCase, kind: str) -> None:
    drawn = use_case.model_copy(update={"kind": kind, "classes": (0, 1, 2, 3) if kind == "classification" else ()})
    markdown = as_markdown(load_task(kind).figure(drawn, judged(drawn)), "answers")
    assert markdown.startswith("![answers](data:image/png;base64,iVBORw0KGgo")
    assert len(markdown) < 60_000


def test_only_tests_that_failed_for_sure_hold_a_candidate_back() -> None:
    asset = keys.training_set("pump")
    tests = [dg.AssetCheckKey(asset, name) for name in ("filled", "finite", "odd", "never_ran")]
    with dg.DagsterInstance.ephemeral() as instance:
        for name, passed, severity in (
            ("filled", False, dg.AssetCheckSeverity.ERROR),
            ("finite", True, dg.AssetCheckSeverity.ERROR),
            ("odd", False, dg.AssetCheckSeverity.WARN),
        ):
            check = dg.AssetCheckEvaluation(asset_key=asset, check_name=name, passed=passed, metadata={}, severity=severity)
            instance.report_runless_asset_event(check)
        assert failed_tests(instance, tests) == ["filled"]


def test_a_test_counts_as_it_last_ran_whatever_other_runs_have_planned() -> None:
    asset, name = keys.training_set("pump"), "filled"

    def planned(instance: dg.DagsterInstance, run_id: str, at: float) -> None:
        data = AssetCheckEvaluationPlanned(asset_key=asset, check_name=name)
        instance.report_dagster_event(
            dg.DagsterEvent("ASSET_CHECK_EVALUATION_PLANNED", "refresh", event_specific_data=data), run_id, timestamp=at
        )

    def evaluated(instance: dg.DagsterInstance, run_id: str, at: float, *, passed: bool) -> None:
        data = dg.AssetCheckEvaluation(asset_key=asset, check_name=name, passed=passed, metadata={})
        instance.report_dagster_event(dg.DagsterEvent("ASSET_CHECK_EVALUATION", "refresh", event_specific_data=data), run_id, timestamp=at)

    with dg.DagsterInstance.ephemeral() as instance:
        planned(instance, "waits-long", 1.0)
        assert failed_tests(instance, [dg.AssetCheckKey(asset, name)]) == []
        planned(instance, "overtakes", 2.0)
        evaluated(instance, "overtakes", 3.0, passed=True)
        evaluated(instance, "waits-long", 4.0, passed=False)
        planned(instance, "waits-still", 5.0)
        assert failed_tests(instance, [dg.AssetCheckKey(asset, name)]) == [name]
