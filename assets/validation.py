"""The gate as a blocking check on the candidate: where it fails, the champion stays."""

from dataclasses import dataclass

import dagster as dg

from assets import keys
from assets.training import COMPARED_WITH, NO_CHAMPION, VERSION
from learning.gate import Verdict
from learning.store import ModelStore, StoredModel
from mliot.usecase import UseCase


@dataclass(frozen=True)
class Judgement:
    """The gate's verdict on the newest candidate, which was trained in the run ``run_id``, beside the ``champion`` of now.

    ``outdated`` says why the comparison no longer holds, or nothing.
    """

    candidate: StoredModel
    run_id: str
    champion: str | None
    verdict: Verdict
    outdated: str

    @property
    def passed(self) -> bool:
        return self.verdict.passed and not self.outdated

    @property
    def refused(self) -> bool:
        """True for an ordinary end of a training: nothing is broken, and what is in charge (or nothing) stays so."""
        return self.verdict.outcome == "refused" and not self.outdated

    @property
    def summary(self) -> str:
        """The outcome in one line, with the first reason of a refusal."""
        if self.passed:
            return "passed"
        return f"candidate refused: {'champion stays: ' if self.champion else ''}{self.reasons[0]}"

    @property
    def reasons(self) -> list[str]:
        """One line a reason, the refusing ones first."""
        passed = [str(check) for check in self.verdict.checks if check.outcome == "passed"]
        return [*([self.outdated] if self.outdated else []), *map(str, self.verdict.refusals), *passed]

    @property
    def advice(self) -> str:
        """What a person should do about a refusal."""
        return "train again" if self.outdated else self.verdict.advice


def judgement(instance: dg.DagsterInstance, store: ModelStore, use_case: UseCase) -> Judgement:
    """What the gate says of the newest candidate. Raises :class:`dagster.Failure` where there is none."""
    event = instance.get_latest_materialization_event(keys.candidate(use_case.name))
    materialization = event.asset_materialization if event else None
    if event is None or materialization is None:
        raise dg.Failure(f"{use_case.name}: there is no candidate yet; materialize {keys.candidate(use_case.name).to_user_string()} first")
    candidate = store.get(use_case.name, str(materialization.metadata[VERSION].value))
    pointer = store.aliases(use_case.name).champion
    champion = pointer.version if pointer else None
    compared_with, now = str(materialization.metadata[COMPARED_WITH].value), champion or NO_CHAMPION
    outdated = "" if now in (compared_with, candidate.version) else f"compared with {compared_with}, but the champion is {now}: train again"
    if candidate.card.verdict is None:
        raise dg.Failure(f"{use_case.name}: {candidate.version} was trained before verdicts were kept; train again")
    return Judgement(candidate, event.run_id, champion, candidate.card.verdict, outdated)


def validation(use_case: UseCase) -> dg.AssetChecksDefinition:
    """The gate of one use case. Any refusal is a failed check. That of a sound candidate has severity WARN: Dagster fails a run for a
    failed blocking check of severity ERROR, and this one found nothing wrong; promotion heeds both."""

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
            severity=dg.AssetCheckSeverity.WARN if found.refused else dg.AssetCheckSeverity.ERROR,
            description=found.summary,
            metadata={
                VERSION: found.candidate.version,
                **({} if found.passed else {"what to do": dg.MetadataValue.text(found.advice)}),
                "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in found.reasons)),
                **{check.name: dg.MetadataValue.text(str(check)) for check in found.verdict.checks},
            },
        )

    return passes_gate
