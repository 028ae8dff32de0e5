"""Promotion: the alias ``champion`` moves to the candidate that the gate let through, and nothing else happens."""

from collections.abc import Iterator

import dagster as dg

from assets import keys
from assets.training import VERSION
from assets.validation import Judgement, judgement
from learning.store import ModelStore
from mliot.usecase import UseCase

AFTER_BLOCKING_CHECKS = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
"""``eager()`` alone would ask for the champion although a blocking check on the candidate had failed."""


def promotion(use_case: UseCase) -> dg.AssetsDefinition:
    """The champion of one use case."""

    @dg.asset(
        key=keys.champion(use_case.name),
        deps=[keys.candidate(use_case.name)],
        group_name=use_case.name,
        kinds={"bentoml", "onnx"},
        description=f"{use_case.title}: the model in charge. Materializing it moves the alias to the newest candidate, on record.",
        automation_condition=AFTER_BLOCKING_CHECKS,
        output_required=False,
    )
    def champion(context: dg.AssetExecutionContext, store: dg.ResourceParam[ModelStore]) -> Iterator[dg.MaterializeResult[None]]:
        found = judgement(context.instance, store, use_case)
        if found.refused and found.run_id == context.run.run_id:  # an ordinary end of the run that trained the candidate
            context.log.warning(f"{use_case.name}: {found.candidate.version}: {found.summary}")
            context.log_event(
                dg.AssetObservation(keys.champion(use_case.name), metadata={"stays": found.summary, "what to do": found.advice})
            )
            return
        if not found.passed:  # a person may ask for this asset alone, where no check stands in between, and is told
            raise dg.Failure(f"{use_case.name}: {found.candidate.version}: {found.summary}")
        yield promoted(store, use_case, found)

    return champion


def promoted(store: ModelStore, use_case: UseCase, found: Judgement) -> dg.MaterializeResult[None]:
    """Moves the alias to the candidate that passed, unless it is in charge already."""
    version = found.candidate.version
    if found.champion == version:
        metadata = {VERSION: version, "moved": "no: it was in charge already"}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))
    move = store.move(use_case.name, "champion", version, who="gate", why="; ".join(found.reasons))
    return dg.MaterializeResult(
        metadata={
            VERSION: version,
            "moved": f"from {move.was or 'none'}",
            "at": dg.MetadataValue.timestamp(move.at_ms / 1000),
            **{name: dg.MetadataValue.float(value) for name, value in move.metrics.items()},
        },
        data_version=dg.DataVersion(version),
    )
