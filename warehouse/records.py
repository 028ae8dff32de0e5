"""Kafka's records for the ingest: the port it reads through, and the real one."""

import gc
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient

_SLICE_S = 0.05
"""A read that asks for more than there is lasts this long, ends of partitions included."""
NOT_TEXT = "data:;base64,"
"""Bytes that are not UTF-8 stand in the warehouse as this and their base64 (RFC 2397): nothing is lost, and no JSON begins so."""


@dataclass(frozen=True)
class Span:
    """Offsets that a partition holds: ``low`` the oldest, ``end`` one past the newest committed."""

    low: int
    end: int


@dataclass(frozen=True)
class Topic:
    """A topic as the cluster knows it. ``topic_id`` is another one once the topic was deleted and made again."""

    name: str
    topic_id: str
    spans: Mapping[int, Span]


Texts: TypeAlias = "pa.Array | Sequence[str | None]"


class Columns(NamedTuple):
    """Committed records of one topic, column by column, each partition's in its order. Keys, values and trace contexts are text as the
    warehouse keeps it. (A tuple a record would cost four times the processor time.)"""

    partitions: Sequence[int]
    offsets: Sequence[int]
    ms: Sequence[int]
    keys: Texts
    values: Texts
    traceparents: Texts


@dataclass(frozen=True)
class Batch:
    """Records of one topic, and for every partition that moved the offset to go on from, transaction markers passed."""

    records: Columns
    positions: Mapping[int, int]


class Records(Protocol):
    """Where the ingest reads. Both methods raise :class:`Transient` where the cluster does not answer."""

    def topic(self, name: str) -> Topic | None:
        """The topic now, or None where there is none."""
        ...

    def read(self, name: str, starts: Mapping[int, int]) -> Iterator[Batch]:
        """Committed records from ``starts`` on (offset by partition), up to what is committed when a partition's end is reached."""
        ...


def as_text(data: bytes | None) -> str | None:
    """``data`` as the warehouse keeps it: decoded, or marked base64 where it is not UTF-8."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return NOT_TEXT + b64encode(data).decode()


def as_texts(data: Sequence[bytes | None]) -> pa.Array:
    """:func:`as_text` of each."""
    try:
        return pa.array(data, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:  # some are not UTF-8
        return pa.array(map(as_text, data), pa.string())


class KafkaRecords:
    """Reads ``bootstrap`` with a consumer a topic that joins no group; gives up after ``patience_s`` without a sign of life."""

    def __init__(self, bootstrap: str, *, batch_rows: int = 10_000, patience_s: float = 30.0) -> None:
        self._bootstrap = bootstrap
        self._batch_rows = batch_rows
        self._patience_s = patience_s

    def topic(self, name: str) -> Topic | None:
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        try:
            described = admin.describe_topics(TopicCollection([name]), request_timeout=self._patience_s)[name].result()
            with closing(self._consumer()) as consumer:
                spans = {
                    partition.id: Span(*consumer.get_watermark_offsets(TopicPartition(name, partition.id), timeout=self._patience_s))
                    for partition in described.partitions
                }
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise Transient(f"Kafka at {self._bootstrap}: {name}: {error.args[0].str()}") from error
        return Topic(name, str(described.topic_id), spans)

    def read(self, name: str, starts: Mapping[int, int]) -> Iterator[Batch]:
        unfinished = set(starts)
        with closing(self._consumer()) as consumer:
            consumer.assign([TopicPartition(name, partition, offset) for partition, offset in starts.items()])
            patience = Deadline.after(SystemClock(), self._patience_s)
            while unfinished:
                with uncollected():
                    messages = consumer.consume(self._batch_rows, timeout=_SLICE_S)
                    records, ended = _sorted_out(name, [message for message in messages if message.partition() in unfinished])
                    came = bool(messages)
                    del messages  # with all that hangs on them, before the collector may look again
                if not came:
                    if patience.passed():
                        raise Transient(f"Kafka at {self._bootstrap}: {name}: nothing comes of partitions {sorted(unfinished)}")
                    continue
                patience = Deadline.after(SystemClock(), self._patience_s)
                yield Batch(records, _positions(records.partitions, records.offsets, ended))
                if ended:
                    unfinished -= ended.keys()
                    consumer.incremental_unassign([TopicPartition(name, partition) for partition in ended])

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "mliot-ingest",  # required by the library; nothing is committed to it and no group is joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",  # an offset that the log does not hold must be seen, not skipped
                "enable.partition.eof": True,  # the only sign of an end that transaction markers follow
                "fetch.wait.max.ms": 20,  # what is behind the last record is asked for once, and answered then
                "queued.min.messages": 500_000,  # as far ahead as its 64 MB allow: with less it stands still between two fetches
                "fetch.message.max.bytes": 4 << 20,
            }
        )


@contextmanager
def uncollected() -> Iterator[None]:
    """A batch is ten thousands of objects that live and die together, without cycles: the cyclic collector would walk through all of the
    process again and again to find that out, for more time than the reading takes."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _sorted_out(topic: str, messages: Sequence[Message]) -> tuple[Columns, dict[int, int]]:
    """The records among ``messages``, and of partitions that came to their end the offset there."""
    records: list[Message] = []
    ends: list[Message] = []
    for message in messages:
        error = message.error()
        if error is None:
            records.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ends.append(message)
        else:
            raise Transient(f"Kafka: {topic}: {error.str()}")
    columns = Columns(
        *_places(records),
        [message.timestamp()[1] for message in records],
        as_texts(cast(list[bytes | None], [message.key() for message in records])),
        as_texts(cast(list[bytes | None], [message.value() for message in records])),
        as_texts([_traceparent(message) for message in records]),
    )
    return columns, dict(zip(*_places(ends), strict=True))


def _positions(partitions: Sequence[int], offsets: Sequence[int], ended: Mapping[int, int]) -> dict[int, int]:
    """Where to read on: behind the last record, or at the end where markers follow it; records may also have come after an end was told."""
    positions = dict(ended)
    for partition, offset in dict(zip(partitions, offsets, strict=True)).items():
        positions[partition] = max(positions.get(partition, 0), offset + 1)
    return positions


def _places(messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Partitions and offsets, which every message that was consumed has."""
    return cast(list[int], [message.partition() for message in messages]), cast(list[int], [message.offset() for message in messages])


def _traceparent(message: Message) -> bytes | None:
    headers: Iterable[tuple[str, Any]] = message.headers() or ()  # type: ignore[assignment]  # a dict is for producing only
    for name, value in headers:
        if name == "traceparent":
            return cast(bytes | None, value)
    return None
