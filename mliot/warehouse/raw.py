"""The tables of the schema ``raw``: one a Kafka topic, all with the columns of one Kafka record."""

import duckdb

from mliot.featuremodels import RAW_COLUMNS
from mliot.messages import MESSAGES

RAW = "raw"
"""The schema, and dlt's dataset."""
TABLES: dict[str, str] = {message.topic_name: message.topic_name.removeprefix("stream-") for message in MESSAGES}
"""The topics that the warehouse keeps, each with its table."""


def create_raw_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables that no ingest has made yet, empty: dbt's sources must exist before their first record does."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in RAW_COLUMNS.items())
    con.execute(f"create schema if not exists {RAW}")
    for table in TABLES.values():
        con.execute(f'create table if not exists {RAW}."{table}" ({columns})')
