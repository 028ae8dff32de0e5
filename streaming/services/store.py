"""Every topic into PostgreSQL, once: rows and the positions they lead to in one transaction of the store."""

from collections.abc import Mapping, Sequence
from typing import Any

from mliot.measurements import load_measurements
from mliot.messages import Ack, Command, DeadLetter, Feature, Frame, Label, Message, Prediction, Window, decode
from mliot.settings import Settings
from streaming.process import main, serve
from streaming.runtime.driver import Performers
from streaming.runtime.effects import Assignment, Batch, Effects, Open, Partition, Positions, Read, Record, Save, Seek
from streaming.sinks.postgres import PostgresStore

KINDS: Mapping[str, type[Message]] = {
    kind.topic_name: kind for kind in (Frame, Window, Feature, Prediction, Label, Command, Ack, DeadLetter)
}
TOPICS = tuple(KINDS)
OWN_ID: Mapping[type[Message], str] = {
    Frame: "frame_id",
    Window: "window_id",
    Feature: "feature_id",
    Prediction: "prediction_id",
    Ack: "command_id",
    DeadLetter: "dead_id",
}
"""The field that is the message's whole id, and so stands in the table's column ``id``."""
Row = dict[str, Any]


def decide(records: Sequence[Record], now_ms: int) -> tuple[dict[str, list[Row]], int]:
    """The rows to store, by topic, and how many records are no message of their topic: each becomes a dead letter's row. Pure."""
    rows: dict[str, list[Row]] = {}
    rejected = 0
    for record in records:
        try:
            message = decode(KINDS[record.topic], record.value)
            stored = row(message, record, now_ms)
        except ValueError as error:  # msgspec's and base64's
            message = DeadLetter.of(
                record.value, source=record.topic, service="store", reason=f"not a message of {record.topic}: {error}", at_ms=now_ms,
                key=record.key, traceparent=record.traceparent,
            )  # fmt: skip
            stored = row(message, record, now_ms)
            rejected += 1
        rows.setdefault(message.topic_name, []).append(stored)
    return rows, rejected


def row(message: Message, record: Record, now_ms: int) -> Row:
    """The message's fields as columns of its table (``streaming/sinks/postgres.sql``)."""
    own = OWN_ID.get(type(message))
    columns: Row = {name: getattr(message, name) for name in message.__struct_fields__ if name != own}
    if isinstance(message, DeadLetter):
        columns["original"] = message.original
        del columns["original_base64"]
    columns |= {"id": message.id, "address": record.address, "traceparent": record.traceparent or None, "stored_ms": now_ms}
    return columns


def store(rows: int, fill_ms: int) -> Effects:
    """Read from where the store itself says it stands; save; the log's own committed offsets play no part."""
    assignment: Assignment = yield Open(TOPICS)
    at: dict[Partition, int] = dict((yield Positions({partition: position.topic_id for partition, position in assignment.items()})))
    yield Seek(at)
    while True:
        batch: Batch = yield Read(rows, fill_ms=fill_ms)
        if not batch.records:
            continue
        after = {partition: position.offset for partition, position in batch.positions().items()}
        stored, rejected = decide(batch.records, batch.now_ms)
        yield Save(stored, len(batch.records), {partition: at[partition] for partition in after}, after, rejected)
        at |= after


def run(settings: Settings) -> None:
    """The store service as a process, until it is told to stop."""
    with PostgresStore(settings.postgres_address, known=load_measurements(settings.measurements)) as postgres:
        ports: Performers = {Positions: postgres.positions, Save: postgres.save}
        serve(settings, "store", lambda: store(settings.batch_rows, settings.commit_ms), ports, reads_only=True)


if __name__ == "__main__":
    main(run, "store")
