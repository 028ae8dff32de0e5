"""The alias moves for what the gate lets through, and for nothing else."""

from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from assets import keys
from assets.promotion import promotion
from assets.validation import judgement, validation
from learning.store import ModelStore
from mliot.usecase import UseCase

MakeCandidate = Callable[..., str]
StoreCandidate = Callable[..., dict[str, str]]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def retrain(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, candidate: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    """The candidate (one that stands already where none is given), the check on it, and the champion behind it, in one run."""

    @dg.asset(key=keys.candidate(use_case.name))
    def trained() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata=candidate)

    definitions = dg.Definitions(
        assets=[trained if candidate else dg.AssetSpec(keys.candidate(use_case.name)), promotion(use_case)],
        asset_checks=[validation(use_case)],
        resources={"store": store},
        jobs=[dg.define_asset_job("promote", dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks())],
    )
    return definitions.resolve_job_def("promote").execute_in_process(instance=instance, raise_on_error=False)


def only_champion(instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase) -> dg.ExecuteInProcessResult:
    return dg.materialize([promotion(use_case)], instance=instance, resources={"store": store}, raise_on_error=False)


def in_charge(store: ModelStore, use_case: UseCase) -> str | None:
    champion = store.aliases(use_case.name).champion
    return champion.version if champion else None


def test_the_first_candidate_that_beats_the_baseline_takes_charge(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, make_candidate: MakeCandidate
) -> None:
    version = make_candidate(instance, loss=0.5)
    result = retrain(instance, store, use_case)
    assert result.success
    assert in_charge(store, use_case) == version
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    assert "over_baseline: 0.5, at least 0.02: passed" in str(evaluation.metadata["reasons"].value)
    (move,) = store.history(use_case.name)
    assert (move.who, move.was, move.now) == ("gate", None, version)
    assert "over_baseline" in move.why


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss": 0.5, "parity": 0.1}, "onnx_parity"),
        ({"loss": 0.5, "champion_loss": 0.4, "parity": 0.1}, "onnx_parity"),
        ({"loss": 0.5, "failed_tests": ("training_pump_filled",)}, "data_tests_failed"),
    ],
)
def test_a_broken_candidate_fails_check_and_run(
    instance: dg.DagsterInstance,
    store: ModelStore,
    use_case: UseCase,
    store_candidate: StoreCandidate,
    changes: dict[str, object],
    reason: str,
) -> None:
    first = store_candidate(loss=0.6)
    assert retrain(instance, store, use_case, first).success
    result = retrain(instance, store, use_case, store_candidate(**changes))
    assert not result.success
    assert in_charge(store, use_case) == first["version"]
    assert refusal(result).severity == dg.AssetCheckSeverity.ERROR
    assert str(refusal(result).description).startswith(f"candidate refused: champion stays: {reason}")
    assert not result.asset_materializations_for_node("pump__champion")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss": 0.5, "champion_loss": 0.4}, "over_champion: -0.25, more than 0"),
        ({"loss": 0.6, "champion_loss": 0.6}, "over_champion: 0, more than 0"),
        ({"loss": 0.99, "champion_loss": 0.98}, "over_baseline: 0.01, at least 0.02"),
        ({"loss": 0.5, "rows": 3}, "holdout_rows: 3, at least 10"),
    ],
)
def test_a_candidate_that_is_not_better_fails_the_blocking_check_but_not_the_run(
    instance: dg.DagsterInstance,
    store: ModelStore,
    use_case: UseCase,
    store_candidate: StoreCandidate,
    changes: dict[str, float],
    reason: str,
) -> None:
    first = store_candidate(loss=0.6)
    assert retrain(instance, store, use_case, first).success
    result = retrain(instance, store, use_case, store_candidate(**changes))
    assert result.success
    assert in_charge(store, use_case) == first["version"]
    assert len(store.history(use_case.name)) == 1
    assert str(refusal(result).description).startswith(f"candidate refused: champion stays: {reason}: refused")
    assert not result.asset_materializations_for_node("pump__champion")
    (said,) = result.asset_observations_for_node("pump__champion")
    assert said.metadata["stays"].value == refusal(result).description


def test_a_refused_first_candidate_fails_its_check_but_not_the_run_and_nothing_takes_charge(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, store_candidate: StoreCandidate
) -> None:
    result = retrain(instance, store, use_case, store_candidate(loss=0.99))
    assert result.success
    assert refusal(result).severity == dg.AssetCheckSeverity.WARN
    assert str(refusal(result).description).startswith("candidate refused: over_baseline: 0.01, at least 0.02")
    assert "other columns, candidates or a longer horizon" in str(refusal(result).metadata["what to do"].value)
    assert in_charge(store, use_case) is None
    assert not only_champion(instance, store, use_case).success


def test_a_first_candidate_that_is_broken_fails_the_run(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, store_candidate: StoreCandidate
) -> None:
    result = retrain(instance, store, use_case, store_candidate(loss=0.5, parity=0.1))
    assert not result.success
    assert refusal(result).severity == dg.AssetCheckSeverity.ERROR


def test_the_verdict_is_the_one_that_was_kept_whatever_the_gate_says_now(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, store_candidate: StoreCandidate
) -> None:
    candidate = store_candidate(loss=0.99)
    lenient = use_case.model_copy(update={"gate": use_case.gate.model_copy(update={"over_baseline": -1.0})})
    retrain(instance, store, lenient, candidate)
    assert in_charge(store, use_case) is None


def refusal(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    """The failed blocking check of a run."""
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.blocking
    return evaluation


def test_the_champion_alone_cannot_be_moved_past_the_gate(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, make_candidate: MakeCandidate
) -> None:
    first = make_candidate(instance, loss=0.6)
    assert only_champion(instance, store, use_case).success
    for loss in (0.99, 0.7):
        make_candidate(instance, loss=loss, champion_loss=0.6)
        assert not only_champion(instance, store, use_case).success  # who asks for it by name is told
    assert in_charge(store, use_case) == first


def test_a_candidate_compared_with_a_former_champion_is_refused(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, make_candidate: MakeCandidate
) -> None:
    first = make_candidate(instance, loss=0.5)
    second = make_candidate(instance, loss=0.4)
    store.move(use_case.name, "champion", first, who="somebody", why="meanwhile")
    found = judgement(instance, store, use_case)
    assert found.candidate.version == second
    assert not found.passed
    assert found.reasons[0] == f"compared with no champion yet, but the champion is {first}: train again"


def test_a_candidate_in_charge_already_moves_nothing(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, make_candidate: MakeCandidate
) -> None:
    make_candidate(instance, loss=0.5)
    assert only_champion(instance, store, use_case).success
    assert only_champion(instance, store, use_case).success
    assert len(store.history(use_case.name)) == 1


def test_without_a_candidate_the_champion_says_what_to_do_first(instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase) -> None:
    with pytest.raises(dg.Failure, match="materialize pump/candidate first"):
        judgement(instance, store, use_case)


def test_the_alias_follows_a_candidate_by_itself_only_if_the_check_on_it_passed(
    instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase, make_candidate: MakeCandidate
) -> None:
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(keys.candidate(use_case.name)), promotion(use_case)],
        asset_checks=[validation(use_case)],
        resources={"store": store},
        jobs=[dg.define_asset_job("check", dg.AssetSelection.all_asset_checks())],
    )
    asked, cursor = [], None
    first = make_candidate(instance, loss=0.6)
    store.move(use_case.name, "champion", first, who="test", why="test")
    for loss in (0.99, 0.6, 0.5):
        make_candidate(instance, loss=loss, champion_loss=0.6)
        definitions.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)
        found = dg.evaluate_automation_conditions(
            definitions, instance, asset_selection=dg.AssetSelection.assets(keys.champion(use_case.name)), cursor=cursor
        )
        cursor = found.cursor
        asked.append(found.total_requested)
    assert asked == [0, 0, 1]
