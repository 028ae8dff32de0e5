"""A use case in service: drift of what it is fed, and its live score beside the baseline."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets import keys
from learning.monitoring.drift import ALARM_SHARE, DRIFTED_FROM, METHOD, Drift, TooFewRows, measure_drift
from learning.monitoring.livescore import LiveScore, live_scores, read_answered
from learning.monitoring.reference import read_reference
from learning.monitoring.reports import URL_PATH, Reports
from learning.monitoring.served import newest_served
from learning.store import ModelStore
from learning.tasks import load_task
from mliot.clock import Clock
from mliot.settings import Settings
from mliot.usecase import UseCase
from warehouse.access import open_warehouse

NEWEST_ROWS = 5000


def monitoring(use_case: UseCase) -> Sequence[dg.AssetsDefinition]:
    """Drift and live score of one use case."""
    alarm = dg.AssetCheckSpec(
        "has_not_drifted", asset=keys.drift(use_case.name), description=f"Less than {ALARM_SHARE:.0%} of the columns drifted."
    )

    @dg.asset(
        key=keys.drift(use_case.name),
        deps=[keys.raw("feature")],
        group_name=use_case.name,
        kinds={"evidently"},
        check_specs=[alarm],
        description=f"{use_case.title}: feature rows as served, beside those that the champion was trained on.",
    )
    def drift(
        settings: dg.ResourceParam[Settings], clock: dg.ResourceParam[Clock], store: dg.ResourceParam[ModelStore]
    ) -> Iterator[dg.MaterializeResult[None]]:
        yield drift_result(use_case, alarm, settings, clock, store)

    @dg.asset(
        key=keys.live_score(use_case.name),
        deps=[keys.STORE],
        group_name=use_case.name,
        kinds={"postgres"},
        description=f"{use_case.title}: answers given in service, shadows included, beside what turned out to be true.",
    )
    def live_score(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
        scores = live_scores(use_case, read_answered(settings, use_case.name))
        leading = {"loss": scores[0].loss, "baseline_loss": scores[0].baseline_loss} if scores else {}
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(score.rows for score in scores),
                "scores": dg.MetadataValue.md(scores_table(use_case, scores) if scores else "no answer has its label yet"),
                **{name: dg.MetadataValue.float(value) for name, value in leading.items()},
            }
        )

    return [drift, live_score]


def drift_result(
    use_case: UseCase, alarm: dg.AssetCheckSpec, settings: Settings, clock: Clock, store: ModelStore
) -> dg.MaterializeResult[None]:
    """The newest served rows beside the champion's training rows; where there is nothing to compare yet, that is said instead."""
    champion = store.aliases(use_case.name).champion
    reference = read_reference(settings.reports_path, use_case.name, champion.version) if champion else None
    if champion is None or reference is None:
        return _nothing_to_compare(alarm, "no champion yet" if champion is None else f"training rows of {champion.version} were not kept")
    with open_warehouse(settings) as con:
        current = newest_served(con, use_case, NEWEST_ROWS)
    reports = Reports(settings.reports_path)
    report, page = reports.make(use_case.name, clock.now_ms())
    try:
        found = measure_drift(reference, current, page)
    except TooFewRows as reason:
        return _nothing_to_compare(alarm, str(reason))
    reports.drop_old(use_case.name)
    # served by the dashboard: a browser refuses to follow a page of Dagster's to a file
    served = {"report": settings.dashboard_address + report.url_path, "reports": settings.dashboard_address + URL_PATH}
    return dg.MaterializeResult(
        metadata={**{name: dg.MetadataValue.url(url) for name, url in served.items()}, **_drift_metadata(found, champion.version)},
        check_results=[_drift_check(alarm, found)],
    )


def scores_table(use_case: UseCase, scores: Sequence[LiveScore]) -> str:
    """Markdown: a line a model and role."""
    lost = load_task(use_case.kind).metric.loss_title(use_case.unit)
    lines = [f"| model | role | answers | loss ({lost}) | baseline's |", "|---|---|---|---|---|"]
    for score in scores:
        role = "shadow" if score.shadow else "in charge"
        lines.append(f"| {score.model_version} | {role} | {score.rows} | {score.loss:.4g} | {score.baseline_loss:.4g} |")
    return "\n".join(lines)


def _nothing_to_compare(alarm: dg.AssetCheckSpec, why: str) -> dg.MaterializeResult[None]:
    check = dg.AssetCheckResult(passed=True, check_name=alarm.name, asset_key=alarm.asset_key, description=why)
    return dg.MaterializeResult(metadata={"report": why}, check_results=[check])


def _drift_check(alarm: dg.AssetCheckSpec, found: Drift) -> dg.AssetCheckResult:
    moved = ", ".join((*found.drifted, *(f"{name} (silent)" for name in found.silent))) or "none"
    return dg.AssetCheckResult(
        passed=not found.alarming,
        severity=dg.AssetCheckSeverity.WARN,
        check_name=alarm.name,
        asset_key=alarm.asset_key,
        description=f"{found.share:.0%} of the columns drifted: {moved}",
    )


def _drift_metadata(found: Drift, version: str) -> dict[str, Any]:
    lines = [f"| column | {METHOD} distance | |", "|---|---|---|"]
    for name, distance in sorted(found.distances.items(), key=lambda each: -each[1]):
        lines.append(f"| {name} | {distance:.3f} | {'drifted' if distance >= DRIFTED_FROM else ''} |")
    lines += [f"| {name} | | silent |" for name in found.silent]
    return {
        "champion": version,
        "share_drifted": dg.MetadataValue.float(found.share),
        "reference_rows": found.reference_rows,
        "served_rows": found.current_rows,
        "columns": dg.MetadataValue.md("\n".join(lines)),
    }
