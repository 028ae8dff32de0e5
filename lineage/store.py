"""The one way in which the lineage tools open the store, and how its absence is told."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from mliot.errors import Transient
from mliot.settings import Settings

CONNECT_S = 5
Store = psycopg.Connection[DictRow]


def shown_address(dsn: str) -> str:
    """``host:port/database`` of a DSN: what may be shown of it."""
    parts = conninfo_to_dict(dsn)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


@contextmanager
def connected(settings: Settings) -> Iterator[Store]:
    """A connection whose rows are dicts; committed when the block ends well, rolled back when it raises.

    Raises :class:`Transient` with one line that names the address, without the password, where the store is away or empty.
    """
    address = shown_address(settings.postgres_address)
    try:
        with psycopg.connect(settings.postgres_address, connect_timeout=CONNECT_S, row_factory=dict_row) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Transient(f"store: PostgreSQL at {address} does not answer: {_cause(error)}") from error
    except psycopg.errors.UndefinedTable as error:
        raise Transient(f"store: PostgreSQL at {address} has no tables of MLIoT yet; they come with the store service") from error


def _cause(error: psycopg.Error) -> str:
    """What follows the last ``failed:`` of libpq's first line; the rest of it repeats host and port, and asks questions."""
    lines = str(error).strip().splitlines()
    return lines[0].rpartition("failed: ")[2].strip() if lines else type(error).__name__
