"""A use case's training: from its training set to a candidate in the model store. Nothing is promoted here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import msgspec
import pyarrow as pa

from assets import keys
from assets.dbt import Dbt
from learning.card import Interval
from learning.monitoring.reference import keep_reference
from learning.store import ModelStore, StoredModel
from learning.tasks import load_task
from mliot.clock import Clock
from mliot.settings import Settings
from mliot.usecase import UseCase
from warehouse.access import open_warehouse

if TYPE_CHECKING:
    from learning.training.train import Candidate

VERSION, COMPARED_WITH = "version", "compared_with"
"""Metadata of a candidate by which the gate and the promotion know what they speak of."""
NO_CHAMPION = "no champion yet"
RUNS_LOOKED_AT = 50
"""More runs than ever wait at a time, so that one that has evaluated a data test is among them."""


def training(use_case: UseCase, tests: Iterable[dg.AssetCheckKey]) -> dg.AssetsDefinition:
    """The candidate of one use case; those of ``tests`` that are its training set's must have passed for the gate to let it through."""
    own_tests = [test for test in tests if test.asset_key == keys.training_set(use_case.name)]

    @dg.asset(
        key=keys.candidate(use_case.name),
        deps=[keys.training_set(use_case.name)],
        group_name=use_case.name,
        kinds={"scikitlearn", "onnx"},
        description=f"{use_case.title}: the best of {len(use_case.candidates)} declared estimators, as ONNX in the store. No alias moves.",
        output_required=False,
    )
    def candidate(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        clock: dg.ResourceParam[Clock],
        store: dg.ResourceParam[ModelStore],
        dbt: Dbt,
    ) -> Iterator[dg.MaterializeResult[None]]:
        # imported here: they take seconds, and whoever only looks at the graph does not train
        from learning.training.rows import NotEnoughRows
        from learning.training.train import train

        champion = store.in_charge(use_case.name)
        table = read_training_set(settings, use_case)
        try:
            made = train(
                use_case,
                table,
                feature_version=dbt.variables["feature_versions"][use_case.features],
                created_ms=clock.now_ms(),
                champion=champion,
                failed_tests=failed_tests(context.instance, own_tests),
            )
        except NotEnoughRows as reason:  # more will come, and nothing downstream has anything to do until then
            context.log.warning(f"{use_case.name}: {reason}")
            context.log_event(dg.AssetObservation(keys.candidate(use_case.name), metadata={"not enough rows": str(reason)}))
            return
        version = store.save(made.card, made.onnx)
        keep_reference(settings.reports_path, store, use_case, version, table)
        yield dg.MaterializeResult(metadata=_metadata(use_case, made, version, champion), data_version=dg.DataVersion(version))

    return candidate


def read_training_set(settings: Settings, use_case: UseCase) -> pa.Table:
    """The use case's training set as dbt built it."""
    with open_warehouse(settings) as con:
        return con.table(f"training.training_{use_case.name}").to_arrow_table()


def failed_tests(instance: dg.DagsterInstance, tests: Sequence[dg.AssetCheckKey]) -> Sequence[str]:
    """The names of those ``tests`` that did not pass when they last ran; one that only warns does not count."""
    evaluations = (_newest_evaluation(instance, test) for test in tests)
    return sorted(one.check_name for one in evaluations if one and not one.passed and one.severity == dg.AssetCheckSeverity.ERROR)


def _newest_evaluation(instance: dg.DagsterInstance, test: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """By the time at which it was made: Dagster's own order is by when each was planned, and what a waiting run has planned is none yet."""
    records = instance.event_log_storage.get_asset_check_execution_history(test, limit=RUNS_LOOKED_AT)
    made = [(record.event.timestamp, record.evaluation) for record in records if record.event]
    newest = max(((at, one) for at, one in made if isinstance(one, dg.AssetCheckEvaluation)), key=lambda each: each[0], default=None)
    return newest[1] if newest else None


def _metadata(use_case: UseCase, made: "Candidate", version: str, champion: StoredModel | None) -> Mapping[str, Any]:
    from assets.figures import as_markdown

    card, answers = made.card, load_task(use_case.kind).figure(use_case, made.judged)
    return {
        VERSION: version,
        COMPARED_WITH: champion.version if champion else NO_CHAMPION,
        "dagster/row_count": card.data.rows,
        "estimator": card.estimator,
        "rows judged": card.evidence.rows,
        "candidates": dg.MetadataValue.md(candidates_table(use_case, made)),
        "answers": dg.MetadataValue.md(as_markdown(answers, f"{use_case.title}: answers beside the truth")),
        "feature_version": card.feature_version,
        "data": dg.MetadataValue.json(msgspec.to_builtins(card.data)),
        **({"interval": interval_text(use_case, card.interval)} if card.interval else {}),
        "libraries": dg.MetadataValue.json(card.libraries),
        **{name: dg.MetadataValue.float(value) for name, value in card.metrics.items()},
        **({"notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in notes))} if (notes := (*made.notes, *_warned(made))) else {}),
    }


def interval_text(use_case: UseCase, interval: Interval) -> str:
    """The interval's width, what it was made for and what it was seen to hold, in one line."""
    measured = "not measured" if interval.measured is None else f"{interval.measured:.1%} of {interval.rows} later rows measured"
    return f"plus or minus {interval.half_width:.4g} {use_case.unit}; coverage {interval.coverage:.0%} asked for, {measured}"


def candidates_table(use_case: UseCase, made: "Candidate") -> str:
    """Markdown: each estimator's loss on the calibration stretch, then the chosen one's on the holdout beside baseline and champion."""
    lost = load_task(use_case.kind).metric.loss_title(use_case.unit)
    evidence = made.card.evidence
    lines = [f"| who | rows | loss ({lost}) |", "|---|---|---|"]
    for tried in sorted(made.tried, key=lambda tried: tried.loss):
        chosen = " **chosen**" if tried.estimator == made.card.estimator else ""
        lines.append(f"| {tried.estimator}{chosen} | calibration | {tried.loss:.4g} |")
    holdout = {"candidate": evidence.loss, "baseline": evidence.baseline_loss, "champion": evidence.champion_loss}
    lines += [f"| {who} | holdout | {loss:.4g} |" for who, loss in holdout.items() if loss is not None]
    return "\n".join(lines)


def _warned(made: "Candidate") -> list[str]:
    return [f"{tried.estimator}: {text}" for tried in made.tried for text in tried.warned]
