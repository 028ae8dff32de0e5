"""The gate as a blocking check on the candidate: where it fails, the champion stays."""

from dataclasses import dataclass

import dagster as dg

from assets import keys
from assets.training import COMPARED_WITH, NO_CHAMPION, VERSION
from mliot.gate import Verdict, judge
from mliot.modelstore import ModelStore, StoredModel
from mliot.usecase import UseCase


@dataclass(frozen=True)
class Judgement:
    """The gate's verdict on the newest candidate. ``outdated`` says why the comparison no longer holds, or nothing."""

    candidate: StoredModel
    verdict: Verdict
    outdated: str

    @property
    def passed(self) -> bool:
        return self.verdict.passed and not self.outdated

    @property
    def reasons(self) -> list[str]:
        """One line a reason, the refusing ones first."""
        refused = [str(check) for check in self.verdict.checks if not check.passed]
        passed = [str(check) for check in self.verdict.checks if check.passed]
        return [*([self.outdated] if self.outdated else []), *refused, *passed]


def judgement(instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase) -> Judgement:
    """What the gate says of the newest candidate. Raises :class:`dagster.Failure` where there is none."""
    event = instance.get_latest_materialization_event(keys.candidate(use_case.name))
    materialization = event.asset_materialization if event else None
    if materialization is None:
        raise dg.Failure(f"{use_case.name}: there is no candidate yet; materialize {keys.candidate(use_case.name).to_user_string()} first")
    candidate = store.get(use_case.name, str(materialization.metadata[VERSION].value))
    champion = store.aliases(use_case.name).champion
    compared_with, now = str(materialization.metadata[COMPARED_WITH].value), champion.version if champion else NO_CHAMPION
    outdated = "" if now in (compared_with, candidate.version) else f"compared with {compared_with}, but the champion is {now}: train again"
    return Judgement(candidate, judge(use_case.gate, candidate.card.evidence), outdated)


def validation(use_case: UseCase) -> dg.AssetChecksDefinition:
    """The gate of one use case."""

    @dg.asset_check(
        asset=keys.candidate(use_case.name),
        name="passes_gate",
        blocking=True,
        description="Better than baseline and champion on the newest rows, ONNX answers as the native model does, fast and small enough.",
    )
    def passes_gate(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[ModelStore]) -> dg.AssetCheckResult:
        found = judgement(context.instance, store, use_case)
        return dg.AssetCheckResult(
            passed=found.passed,
            description="passed" if found.passed else f"refused: {found.reasons[0]}",
            metadata={
                VERSION: found.candidate.version,
                "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in found.reasons)),
                **{check.name: dg.MetadataValue.text(str(check)) for check in found.verdict.checks},
            },
        )

    return passes_gate
