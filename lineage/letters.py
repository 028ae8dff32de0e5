"""Dead letters in the store: finding and listing them, and remembering which were replayed."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import DictRow

from lineage.chain import StoredLetter
from lineage.store import Store
from mliot.errors import UserError
from mliot.messages import DeadLetter

_LETTERS = """
select d.*, r.at_ms as replayed_ms from mliot.deadletter d
left join lateral (select max(at_ms) as at_ms from mliot.replayed where dead_id = d.id) r on true
"""
_FIND = _LETTERS + "where starts_with(d.id, %s) order by d.id limit 2"
_LIST = (
    _LETTERS
    + """
where (%(service)s::text is null or d.service = %(service)s) and (%(reason)s::text is null or strpos(d.reason, %(reason)s) > 0)
order by d.at_ms desc, d.id limit %(limit)s
"""
)


def find_letters(store: Store, prefix: str) -> list[StoredLetter]:
    """The dead letters whose id starts with ``prefix``; two at most, enough to know whether it is one."""
    return _letters(store.execute(_FIND, [prefix.lower()]))


def unique(found: Sequence[StoredLetter], prefix: str) -> StoredLetter | None:
    """The one letter in ``found``, or None. Raises :class:`UserError` where ``prefix`` fits more than one."""
    if len(found) > 1:
        raise UserError(f"{prefix}: more than one dead letter starts with this; {found[0].letter.dead_id} and {found[1].letter.dead_id} do")
    return found[0] if found else None


def list_letters(store: Store, *, service: str | None, reason: str | None, limit: int | None) -> list[StoredLetter]:
    """Dead letters, newest first: of ``service`` and with ``reason`` as a part of their reason, where given."""
    return _letters(store.execute(_LIST, {"service": service, "reason": reason, "limit": limit}))


def remember_replayed(store: Store, dead_id: str, *, at_ms: int, by: str) -> None:
    """Notes that the letter was published again."""
    store.execute('insert into mliot.replayed (dead_id, at_ms, "by") values (%s, %s, %s)', [dead_id, at_ms, by])


def _letters(rows: psycopg.Cursor[DictRow]) -> list[StoredLetter]:
    return [StoredLetter(_letter(row), row["address"], row["stored_ms"], row["replayed_ms"]) for row in rows]


def _letter(row: Mapping[str, Any]) -> DeadLetter:
    fields = {name: row[name] for name in ("service", "reason", "source", "key", "at_ms")}
    return DeadLetter(
        dead_id=row["id"], original_base64=b64encode(row["original"]).decode(), traceparent=row["traceparent"] or "", **fields
    )
