"""The keys of the assets: which thing stands where in the graph, and which group it is shown in."""

import dagster as dg

WAREHOUSE_POOL = "warehouse"
"""DuckDB has one writing process: every asset that writes the warehouse waits for this pool's one slot."""

STREAMS, INGEST, FEATURES = "streams", "ingest", "features"
"""The groups of what all use cases share; each use case's own assets stand in a group of its name."""


def raw(table: str) -> dg.AssetKey:
    """A table of Kafka's records in the warehouse; dbt's source of the same name."""
    return dg.AssetKey(["raw", table])


def stream(topic: str) -> dg.AssetKey:
    """A Kafka topic, filled by running services."""
    return dg.AssetKey(["stream", topic.removeprefix("stream-")])


def training_set(use_case: str) -> dg.AssetKey:
    return dg.AssetKey([use_case, "training_set"])


def candidate(use_case: str) -> dg.AssetKey:
    return dg.AssetKey([use_case, "candidate"])


def champion(use_case: str) -> dg.AssetKey:
    return dg.AssetKey([use_case, "champion"])


def drift(use_case: str) -> dg.AssetKey:
    return dg.AssetKey([use_case, "drift"])


def live_score(use_case: str) -> dg.AssetKey:
    return dg.AssetKey([use_case, "live_score"])


STORE = dg.AssetKey(["store", "rows"])
"""PostgreSQL's tables, filled by the store service."""
