"""The store's table of comparisons: what was found, when."""

from collections.abc import Iterable
from dataclasses import asdict, fields

from psycopg import sql

from lineage.parity.result import Parity
from lineage.store import connected
from mliot.settings import Settings

_COLUMNS = [field.name for field in fields(Parity)]
_INSERT = sql.SQL("insert into mliot.parity ({}) values ({}) on conflict do nothing").format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS))
)


def keep_parity(settings: Settings, found: Iterable[Parity]) -> None:
    """Adds a row for each of ``found``. Raises :class:`mliot.errors.Transient` where the store is away."""
    with connected(settings) as store:
        for one in found:
            store.execute(_INSERT, asdict(one))
