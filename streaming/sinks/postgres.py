"""The store port on a real PostgreSQL: COPY into a temporary table, insert what is new, move the positions; one transaction."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from mliot.errors import Transient
from mliot.unknown import counted, unknown_in
from streaming.runtime.effects import Partition, Position, Positions, Rewound, Save

Rows = Sequence[Mapping[str, Any]]
SILENCE = {"tcp_user_timeout": "30000", "keepalives_idle": "10", "keepalives_interval": "10", "keepalives_count": "3"}
"""A network that swallows packets breaks nothing by itself: the kernel would send again for a quarter of an hour. Half a minute is enough,
unless the address says otherwise (ms and s, libpq's names)."""


def with_patience(dsn: str) -> str:
    """``dsn``, a URL or libpq's keywords, as keywords with :data:`SILENCE` where it does not say otherwise itself."""
    return psycopg.conninfo.make_conninfo("", **{**SILENCE, **psycopg.conninfo.conninfo_to_dict(dsn)})


class PostgresStore:
    """The store port. It connects when first needed and again after a lost connection."""

    def __init__(self, dsn: str, consumer: str = "store", connect_timeout_s: int = 3, *, known: Collection[str] | None = None) -> None:
        """Frames with measurements that are not ``known`` are counted; None: they are not looked for."""
        self._dsn = with_patience(dsn)
        self._consumer = consumer
        self._timeout = connect_timeout_s
        self._known = known
        self._connection: psycopg.Connection[Any] | None = None
        self._topic_ids: Mapping[Partition, str] = {}
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        self.name = f"PostgreSQL at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"

    def __enter__(self) -> "PostgresStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def positions(self, effect: Positions) -> dict[Partition, int]:
        """Where this consumer stands; 0 for a partition that it never read in this incarnation of its topic."""
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(
                    "select kafka_topic, kafka_partition, next_offset, topic_id from position where consumer = %s", (self._consumer,)
                )
                found = {Partition(topic, number): Position(offset, "", topic_id) for topic, number, offset, topic_id in cursor}
        except psycopg.OperationalError as error:
            raise self._lost(error) from error
        self._topic_ids = effect.topic_ids
        return {
            partition: found.get(partition, Position(0)).counted_in(topic_id).offset for partition, topic_id in effect.topic_ids.items()
        }

    def save(self, effect: Save) -> int:
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                frames = effect.rows.get("stream-frame")
                if frames and self._known is not None:
                    _count_unknown(cursor, frames, self._known)
                new = sum(_insert(cursor, topic.removeprefix("stream-"), rows) for topic, rows in effect.rows.items())
                if frames:
                    _latest(cursor, frames)
                self._move(cursor, effect)
        except psycopg.OperationalError as error:
            raise self._lost(error) from error
        return new

    def _move(self, cursor: psycopg.Cursor[Any], effect: Save) -> None:
        """Compare and set: where the position is not what this reader left it at, another one has written, and this one must start over."""
        for partition, offset in effect.after.items():
            cursor.execute(
                """
                insert into position (consumer, kafka_topic, kafka_partition, next_offset, topic_id)
                values (%(consumer)s, %(topic)s, %(number)s, %(after)s, %(topic_id)s)
                on conflict (consumer, kafka_topic, kafka_partition)
                do update set next_offset = excluded.next_offset, topic_id = excluded.topic_id
                where %(before)s = case
                    when excluded.topic_id <> position.topic_id and excluded.topic_id <> '' and position.topic_id <> '' then 0
                    else position.next_offset end
                """,
                {
                    "consumer": self._consumer,
                    "topic": partition.topic,
                    "number": partition.number,
                    "before": effect.before[partition],
                    "after": offset,
                    "topic_id": self._topic_ids.get(partition, ""),
                },
            )
            if cursor.rowcount != 1:
                raise Rewound(f"the store does not stand at {partition.topic}-{partition.number}-{effect.before[partition]}")

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn, connect_timeout=self._timeout, options="-c search_path=mliot", autocommit=True, application_name="mliot-store"
            )
        return self._connection

    def _lost(self, error: psycopg.OperationalError) -> Transient:
        self._drop()
        return Transient(f"{self.name}: {' '.join(str(error).split())}")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


REFUSED_AGAIN = "do update set at_ms = excluded.at_ms, address = excluded.address, stored_ms = excluded.stored_ms"
NEWEST_COUNTS = {"deadletter": ("at_ms desc", REFUSED_AGAIN)}
"""A letter that was replayed and refused again keeps its id; when it was last refused is what people ask."""
FIRST_COUNTS = ("address", "do nothing")


def _insert(cursor: psycopg.Cursor[Any], table: str, rows: Rows) -> int:
    """The number of ``rows`` (not empty, all with the same columns) that were written; of equal ids the first counts."""
    columns = list(rows[0])
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    target, staged = sql.Identifier(table), sql.Identifier(f"new_{table}")
    cursor.execute(
        sql.SQL("create temporary table if not exists {} (like {} including defaults) on commit delete rows").format(staged, target)
    )
    with cursor.copy(sql.SQL("copy {} ({}) from stdin").format(staged, names)) as copy:
        for row in rows:
            copy.write_row([_field(row[column]) for column in columns])
    order, conflict = map(sql.SQL, NEWEST_COUNTS.get(table, FIRST_COUNTS))
    cursor.execute(
        sql.SQL("insert into {} ({names}) select distinct on (id) {names} from {} order by id, {} on conflict (id) {}").format(
            target, staged, order, conflict, names=names
        )
    )
    return cursor.rowcount


def _latest(cursor: psycopg.Cursor[Any], frames: Rows) -> None:
    newest: dict[str, Mapping[str, Any]] = {}
    for frame in frames:
        held = newest.get(frame["device"])
        if held is None or frame["event_ms"] >= held["event_ms"]:
            newest[frame["device"]] = frame
    cursor.executemany(
        """
        insert into frame_latest (device, place_id, event_ms, arrived_ms, frame_id, payload) values (%s, %s, %s, %s, %s, %s)
        on conflict (device) do update set place_id = excluded.place_id, event_ms = excluded.event_ms, arrived_ms = excluded.arrived_ms,
            frame_id = excluded.frame_id, payload = excluded.payload
        where frame_latest.event_ms <= excluded.event_ms
        """,
        [
            (f["device"], f["place_id"], f["event_ms"], f["arrived_ms"], f["id"], _field(f["payload"]))
            for f in sorted(newest.values(), key=lambda f: str(f["device"]))
        ],
    )


def _count_unknown(cursor: psycopg.Cursor[Any], frames: Rows, known: Collection[str]) -> None:
    """Before the frames are inserted: one that is stored already was counted then."""
    suspects = {frame["id"]: frame for frame in frames if unknown_in(frame, known)}
    if not suspects:
        return
    cursor.execute("select id from frame where id = any(%s)", [list(suspects)])
    for (id,) in cursor.fetchall():
        del suspects[id]
    devices = sorted({frame["device"] for frame in suspects.values()})
    held: dict[str, set[str]] = {}
    cursor.execute("select device, name from unknown_measurement where device = any(%s)", [devices])
    for device, name in cursor.fetchall():
        held.setdefault(device, set()).add(name)
    cursor.executemany(
        """
        insert into unknown_measurement as counted (device, name, frames, first_ms, last_ms) values (%s, %s, %s, %s, %s)
        on conflict (device, name) do update set frames = counted.frames + excluded.frames,
            first_ms = least(counted.first_ms, excluded.first_ms), last_ms = greatest(counted.last_ms, excluded.last_ms)
        """,
        [astuple(one) for one in counted(suspects.values(), known, held)],
    )


def _field(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value
