"""The tables of the schema ``raw``: one a Kafka topic, all with the columns of one Kafka record."""

from collections.abc import Iterable

import duckdb

from mliot.featuremodels import RAW_COLUMNS
from mliot.messages import MESSAGES

RAW = "raw"
"""The schema, and dlt's dataset."""
STAGING = f"{RAW}_staging"
"""Where dlt loads a table's new rows first, to merge them from."""
TABLES: dict[str, str] = {message.topic_name: message.topic_name.removeprefix("stream-") for message in MESSAGES}
"""The topics that the warehouse keeps, each with its table."""


def create_raw_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables that no ingest has made yet, empty: dbt's sources must exist before their first record does."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in RAW_COLUMNS.items())
    con.execute(f"create schema if not exists {RAW}")
    for table in TABLES.values():
        con.execute(f'create table if not exists {RAW}."{table}" ({columns})')


def create_staging_tables(con: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> None:
    """Makes dlt's staging tables anew, empty: to compress rows that are read once, a moment later, takes more time than to write them."""
    columns = ", ".join(f'"{name}" {kind} using compression uncompressed' for name, kind in RAW_COLUMNS.items())
    con.execute(f"create schema if not exists {STAGING}")
    for table in tables:
        con.execute(f'create or replace table {STAGING}."{table}" ({columns})')
