"""What the assets are given to work with. Nothing here is opened before it is used."""

from typing import Any

from assets.dbt import Dbt
from learning.store import ModelStore
from mliot.clock import SystemClock
from mliot.settings import Settings
from warehouse.records import KafkaRecords, Records


def make_resources(settings: Settings, dbt: Dbt, records: Records | None = None) -> dict[str, Any]:
    """The resources by the names that assets ask for them; ``records`` come from the settings' Kafka unless they are given."""
    return {
        "settings": settings,
        "clock": SystemClock(),
        "store": ModelStore(settings.models_path),
        "records": records or KafkaRecords(settings.kafka_address),
        "dbt": dbt,
    }
