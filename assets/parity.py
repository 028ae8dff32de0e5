"""Parity as asset checks: the feature rows as served beside those that dbt built, model by model."""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets import keys
from lineage.parity.keep import keep_parity
from lineage.parity.measure import measure_parity
from lineage.parity.result import Parity
from mliot.clock import Clock
from mliot.errors import Transient
from mliot.settings import Settings
from warehouse.dbt import feature_models


def parity_keys(models: Sequence[str]) -> list[dg.AssetCheckKey]:
    """The checks of the feature models of these names."""
    return [dg.AssetCheckKey(keys.raw("feature"), f"{model}_as_built") for model in models]


def parity_checks(settings: Settings) -> dg.AssetChecksDefinition:
    """One check a feature model, made together: none blocks, each fails by what late frames do not explain."""
    models = [model.name for model in feature_models(settings).features]
    specs = [
        dg.AssetCheckSpec(
            key.name,
            asset=key.asset_key,
            additional_deps=[dg.AssetKey(["features", model])],
            description=f"The rows of {model} that the stream served equal those that dbt built, but for frames that came late.",
        )
        for model, key in zip(models, parity_keys(models), strict=True)
    ]

    @dg.multi_asset_check(name="served_as_built", specs=specs)
    def parity(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings], clock: dg.ResourceParam[Clock]
    ) -> Iterator[dg.AssetCheckResult]:
        measured = measure_parity(settings, feature_models(settings), clock.now_ms())
        try:
            keep_parity(settings, measured)
        except Transient as error:  # the checks say what was found, with or without the store
            context.log.warning(f"the result was not kept for the dashboard: {error}")
        found = {one.model: one for one in measured}
        for model, spec in zip(models, specs, strict=True):
            yield parity_result(spec, found.get(model))

    return parity


def parity_result(spec: dg.AssetCheckSpec, found: Parity | None) -> dg.AssetCheckResult:
    """The check's result of one model; None: dbt has not built it yet, which is no fault."""
    if found is None:
        return dg.AssetCheckResult(passed=True, asset_key=spec.asset_key, check_name=spec.name, description="not built yet")
    return dg.AssetCheckResult(
        passed=found.passed,
        asset_key=spec.asset_key,
        check_name=spec.name,
        description=found.summary,
        metadata={
            "rows": found.rows,
            "values": found.values,
            "differ": found.differ,
            "missing": found.missing,
            "missing_by_late_frames": found.missing_late,
            "extra": found.extra,
            "rows_apart_by_late_frames": found.late_rows,
            "share_apart_by_late_frames": dg.MetadataValue.float(found.late_share),
            "largest_relative_difference": dg.MetadataValue.text(f"{found.largest:.3g}"),
            "version": found.version,
            "since": dg.MetadataValue.timestamp(found.since_ms / 1000),
            "until": dg.MetadataValue.timestamp(found.until_ms / 1000),
        },
    )
