"""Promotion: the alias ``champion`` moves to the candidate that the gate let through, and nothing else happens."""

import dagster as dg

from assets import keys
from assets.training import VERSION
from assets.validation import judgement
from mliot.modelstore import ModelStore
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
    )
    def champion(context: dg.AssetExecutionContext, store: dg.ResourceParam[ModelStore]) -> dg.MaterializeResult[None]:
        found = judgement(context.instance, store, use_case)
        if not found.passed:  # a person may ask for this asset alone, where no check stands in between
            raise dg.Failure(f"{use_case.name}: the gate refuses {found.candidate.version}: {found.reasons[0]}")
        version = found.candidate.version
        before = store.aliases(use_case.name).champion
        if before and before.version == version:
            return dg.MaterializeResult(
                metadata={VERSION: version, "moved": "no: it was in charge already"}, data_version=dg.DataVersion(version)
            )
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

    return champion
