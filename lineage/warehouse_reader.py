"""Reads the raw records that the warehouse had loaded when its readers' copy was made."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb

from lineage.audit import Place
from mliot.messages import MESSAGES, Command, Label, Message
from mliot.settings import Settings
from warehouse.access import open_warehouse

_BATCH = 10_000
_ADDRESS = "kafka_topic || '-' || kafka_partition || '-' || kafka_offset"
_JOINED_ID: Mapping[type[Message], tuple[str, ...]] = {Label: ("use_case", "feature_id"), Command: ("command_id", "state")}


class RawRecords:
    """The tables of the schema ``raw``, one a topic."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        found = connection.execute("select table_name from information_schema.tables where table_schema = 'raw'").fetchall()
        self._tables = {name for (name,) in found}

    def loaded_to(self) -> dict[Place, int]:
        """The offset after the last one loaded, by topic and partition."""
        at: dict[Place, int] = {}
        for kind in MESSAGES:
            if self._has(kind):
                rows = self._connection.execute(
                    f"select kafka_partition, max(kafka_offset) + 1 from {_table(kind)} group by kafka_partition"  # noqa: S608 - a name of ours
                ).fetchall()
                at |= {(kind.topic_name, number): offset for number, offset in rows}
        return at

    def rows(self, kind: type[Message]) -> Iterator[tuple[str, str]]:
        """The (id, address) of each record of ``kind``; one without an id (it is not the JSON of a message) is left out."""
        if not self._has(kind):
            return
        parts = _JOINED_ID.get(kind, (kind.__struct_fields__[0],))
        id = " || ':' || ".join(f"json_extract_string(value, '$.{part}')" for part in parts)
        result = self._connection.execute(
            f"select case when json_valid(value) then {id} end, {_ADDRESS} from {_table(kind)}"  # noqa: S608
        )
        while batch := result.fetchmany(_BATCH):
            yield from ((id, address) for id, address in batch if id is not None)

    def twice(self, kind: type[Message]) -> list[str]:
        """The addresses of records that were loaded more than once."""
        if not self._has(kind):
            return []
        rows = self._connection.execute(
            f"select {_ADDRESS} as address from {_table(kind)} group by all having count(*) > 1"  # noqa: S608
        ).fetchall()
        return [address for (address,) in rows]

    def _has(self, kind: type[Message]) -> bool:
        return kind.topic_name.removeprefix("stream-") in self._tables


@contextmanager
def raw_records(settings: Settings) -> Iterator[RawRecords]:
    """The raw records of the readers' copy. Raises :class:`mliot.errors.Transient` where there is none yet."""
    with open_warehouse(settings) as connection:
        yield RawRecords(connection)


def _table(kind: type[Message]) -> str:
    return f'raw."{kind.topic_name.removeprefix("stream-")}"'
