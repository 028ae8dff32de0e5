"""The dashboard's one connection to the store: opened when it is needed, and again after it was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from dashboard.data.queries import Connection
from lineage.store import shown_address
from mliot.errors import Transient
from mliot.settings import Settings

T = TypeVar("T")
CONNECT_S = 3
STATEMENT_MS = 4000
PASS_S = 10.0
_OPTIONS = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_MS} -c application_name=mliot-dashboard"


class StoreLink:
    """Lends its connection, one borrower at a time. It only ever reads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None

    async def lend(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What ``read`` answers. Raises :class:`Transient`, one line without the password, where the store is away, empty or too slow."""
        address = shown_address(self._settings.postgres_address)
        try:
            async with asyncio.timeout(PASS_S):
                return await read(await self._open())
        except psycopg.errors.UndefinedTable:
            await self.close()
            raise Transient(f"PostgreSQL at {address} has no tables of MLIoT yet; they come when the stack starts") from None
        except psycopg.Error as error:
            await self.close()
            raise Transient(f"PostgreSQL at {address}: {_first_line(error)}") from error
        except TimeoutError as error:
            await self.close()
            raise Transient(f"PostgreSQL at {address} did not answer within {PASS_S:g} s") from error

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._settings.postgres_address, autocommit=True, connect_timeout=CONNECT_S, options=_OPTIONS
            )
        return self._connection


def _first_line(error: psycopg.Error) -> str:
    """What libpq says first; before its last ``failed:`` it only repeats host and port."""
    lines = str(error).strip().splitlines()
    return lines[0].rpartition("failed: ")[2].strip() if lines else type(error).__name__
