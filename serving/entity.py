"""The newest features of a place, read from the store."""

import asyncio
from typing import NamedTuple

import psycopg
from psycopg.rows import class_row

from mliot.errors import Transient

_NEWEST = """
select id as feature_id, end_ms, "values" from mliot.feature where model = %s and key = %s order by start_ms desc limit 1
"""


class NewestFeatures(NamedTuple):
    """A feature row as served; a column without a reading is left out of ``values``."""

    feature_id: str
    end_ms: int
    values: dict[str, float]


class FeatureReader:
    """Reads over one connection that is opened when first needed and again after it broke. Use it from one event loop."""

    def __init__(self, dsn: str, *, connect_s: int = 3, query_ms: int = 3000) -> None:
        self._dsn = dsn
        self._connect_s = connect_s
        self._options = f"-c statement_timeout={query_ms} -c default_transaction_read_only=on"
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._opening = asyncio.Lock()

    async def newest(self, model: str, key: str) -> NewestFeatures | None:
        """The newest row of the feature model for ``key``, or None. Raises :class:`Transient` while the store is away."""
        try:
            connection = await self._connected()
            async with connection.cursor(row_factory=class_row(NewestFeatures)) as cursor:
                await cursor.execute(_NEWEST, (model, key), prepare=True)
                return await cursor.fetchone()
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable) as error:
            raise Transient(f"the store cannot be read: {' '.join(str(error).split())}") from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        async with self._opening:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=self._connect_s, options=self._options, application_name="mliot-endpoint"
                )
            return self._connection
