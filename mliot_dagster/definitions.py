"""Everything that Dagster shows and runs, composed from ``assets``. Importing this builds nothing: Dagster calls :func:`defs`."""

import dagster as dg

from assets.dbt import make_dbt
from assets.features import feature_assets
from assets.ingest import ingest_assets
from assets.manifest import batch_manifest
from assets.monitoring import monitoring
from assets.parity import parity_checks
from assets.promotion import promotion
from assets.streams import stream_assets
from assets.training import training
from assets.validation import validation
from mliot.settings import Settings
from mliot_dagster import automation
from mliot_dagster.resources import make_resources
from usecases import load_use_cases
from warehouse.records import Records


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions for this process's settings."""
    return compose(Settings.read())


def compose(settings: Settings, records: Records | None = None) -> dg.Definitions:
    """The definitions for ``settings``: every stage, every use case. Reads declarations and dbt's manifest, connects to nothing.

    ``records`` are read in Kafka's place where they are given.
    """
    use_cases = list(load_use_cases(settings.usecases).values())
    dbt = make_dbt(settings)
    resources = make_resources(settings, dbt, records)
    features = feature_assets(batch_manifest(settings, dbt))
    parity = parity_checks(settings)
    return dg.Definitions(
        assets=[
            *stream_assets(use_cases),
            ingest_assets(settings),
            features,
            *(training(use_case, features.check_keys) for use_case in use_cases),
            *(promotion(use_case) for use_case in use_cases),
            *(asset for use_case in use_cases for asset in monitoring(use_case)),
        ],
        asset_checks=[*(validation(use_case) for use_case in use_cases), parity],
        jobs=automation.jobs(use_cases, parity.check_keys),
        schedules=automation.schedules(use_cases),
        sensors=automation.sensors(use_cases),
        resources=resources,
        executor=dg.in_process_executor,
    )
