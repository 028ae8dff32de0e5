"""What runs by itself: jobs, schedules, sensors. All use the in-process executor: one that starts a process a step takes twice as long."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import dagster as dg
import msgspec

from assets import keys
from assets.streams import observe_services
from learning.store import ModelStore
from mliot.errors import Transient
from mliot.settings import Settings
from mliot.usecase import UseCase
from mliot_dagster.growth import WATCHED, Seen, declared, reason_to_refresh
from warehouse.records import Records

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )  # what define_asset_job returns has no public name

REFRESH, MONITOR, PARITY = "refresh", "monitor", "parity"
WATCH_EVERY_S, NEW_DATA_EVERY_S, PROMOTE_EVERY_S = 60, 8, 60
MONITOR_CRON, PARITY_CRON = "47 * * * *", "27 3 * * *"
WAITING_OR_RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def retrain_name(use_case: str) -> str:
    return f"retrain_{use_case}"


def jobs(use_cases: Sequence[UseCase], parity: Iterable[dg.AssetCheckKey]) -> "list[UnresolvedAssetJobDefinition]":
    """``refresh`` (everything, from Kafka to champions and drift), ``monitor``, ``parity``, and a ``retrain_...`` a use case."""
    names = [use_case.name for use_case in use_cases]
    nightly = dg.AssetSelection.checks(*parity)
    shared = dg.AssetSelection.groups(keys.INGEST, keys.FEATURES) - nightly
    trained = {name: dg.AssetSelection.assets(keys.training_set(name), keys.candidate(name), keys.champion(name)) for name in names}
    drift = dg.AssetSelection.assets(*map(keys.drift, names))
    # without raw/feature's own checks: those are dbt's, and would bring in a run of dbt
    watched = (
        drift | dg.AssetSelection.assets(*map(keys.live_score, names)) | dg.AssetSelection.assets(keys.raw("feature")).without_checks()
    )
    return [
        dg.define_asset_job(
            REFRESH,
            reduce(or_, trained.values(), shared | drift),
            description="Ingest, features, training, gate, promotion and drift, for every use case.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            PARITY, nightly, description="Served feature rows beside those that dbt built.", executor_def=dg.in_process_executor
        ),
        dg.define_asset_job(MONITOR, watched, description="Drift and live scores of every use case.", executor_def=dg.in_process_executor),
        *(
            dg.define_asset_job(
                retrain_name(use_case.name),
                trained[use_case.name],
                description=f"{use_case.title}: training set, candidate, gate, promotion.",
                executor_def=dg.in_process_executor,
            )
            for use_case in use_cases
        ),
    ]


def schedules(use_cases: Sequence[UseCase]) -> list[dg.ScheduleDefinition]:
    """A retraining for each use case at the times that it declares, the monitoring, and every night the parity."""
    running = dg.DefaultScheduleStatus.RUNNING
    return [
        *(
            dg.ScheduleDefinition(
                name=f"retrain_{use_case.name}_schedule",
                job_name=retrain_name(use_case.name),
                cron_schedule=use_case.retrain_cron,
                default_status=running,
            )
            for use_case in use_cases
        ),
        dg.ScheduleDefinition(name="monitor_schedule", job_name=MONITOR, cron_schedule=MONITOR_CRON, default_status=running),
        dg.ScheduleDefinition(name="parity_schedule", job_name=PARITY, cron_schedule=PARITY_CRON, default_status=running),
    ]


def sensors(use_cases: Sequence[UseCase]) -> list[dg.SensorDefinition]:
    """New data starts a refresh, services are observed, and a champion follows its candidate."""
    return [_new_data(use_cases), _services(), _promotions(use_cases)]


def _new_data(use_cases: Sequence[UseCase]) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_data",
        job_name=REFRESH,
        minimum_interval_seconds=NEW_DATA_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a refresh once there is much new data, or a use case has no champion and the data for its first one is in.",
    )
    def new_data(
        context: dg.SensorEvaluationContext, store: dg.ResourceParam[ModelStore], records: dg.ResourceParam[Records]
    ) -> dg.SensorResult | dg.SkipReason:
        if context.instance.get_runs_count(dg.RunsFilter(job_name=REFRESH, statuses=WAITING_OR_RUNNING)):
            return dg.SkipReason("a refresh is under way")
        seen = msgspec.json.decode(context.cursor, type=Seen) if context.cursor else Seen()
        try:
            now = sum(_ends(records).values())
        except Transient as error:
            return dg.SkipReason(str(error))
        lacking = [declared(use_case) for use_case in use_cases if store.aliases(use_case.name).champion is None]
        reason = reason_to_refresh(seen, now, lacking)
        cursor = msgspec.json.encode(seen.after(now, lacking, reason)).decode()
        if reason is None:
            return dg.SensorResult(skip_reason=f"{now - seen.asked} records since the last refresh", cursor=cursor)
        return dg.SensorResult([dg.RunRequest(run_key=f"{REFRESH}@{now}", tags={"mliot/reason": reason})], cursor=cursor)

    return new_data


def _ends(records: Records) -> Mapping[str, int]:
    """Records ever written, by topic; a topic that does not exist yet has none."""
    topics = {name: records.topic(name) for name in WATCHED}
    return {name: sum(span.end for span in topic.spans.values()) if topic else 0 for name, topic in topics.items()}


def _services() -> dg.SensorDefinition:
    @dg.sensor(
        name="services",
        minimum_interval_seconds=WATCH_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lag, rate and state of every running service, as observations of the streams that it fills.",
    )
    def services(settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
        observed, away = observe_services(settings)
        return dg.SensorResult(asset_events=observed, skip_reason=f"no answer from {', '.join(away)}" if away else None)

    return services


def _promotions(use_cases: Sequence[UseCase]) -> dg.SensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name="promotions",
        target=dg.AssetSelection.assets(*(keys.champion(use_case.name) for use_case in use_cases)),
        minimum_interval_seconds=PROMOTE_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
