"""Where the partitions that are read begin and end, and so how far behind a reader is.

Kafka is asked now and then, and never waited for. A committed reader's end is the last stable offset: what an open transaction wrote cannot
be read yet, and is nobody's lag.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from mliot.clock import Clock, Deadline
from streaming.kafka.client import MAX_CALL_S, Admin
from streaming.runtime.effects import Partition

ASKED_EVERY_S = 3.0


class Span(NamedTuple):
    """The offsets of a partition that a committed reader may get: from ``begin`` (older ones have expired) up to before ``end``."""

    begin: int
    end: int


def records_behind(at: Mapping[Partition, int], spans: Mapping[Partition, Span]) -> int | None:
    """Offsets between where reading goes on, ``at``, and the ends; None where an end is not known. Pure.

    Offsets of aborted records and of transactions' markers count until they are read past: nobody can tell them apart before.
    """
    if not at or any(partition not in spans for partition in at):
        return None
    return sum(max(0, spans[partition].end - max(offset, spans[partition].begin)) for partition, offset in at.items())


class LogEnds:
    """The spans of the partitions last followed, as they were some seconds ago."""

    def __init__(self, admin: Admin, clock: Clock) -> None:
        self._admin = admin
        self._clock = clock
        self._partitions: tuple[Partition, ...] = ()
        self._asked: dict[OffsetSpec, dict[TopicPartition, Future[Any]]] = {}
        self._next = Deadline.after(clock, 0)
        self._spans: Mapping[Partition, Span] = {}

    def follow(self, partitions: Iterable[Partition]) -> None:
        """From now on these, of which nothing is known yet; they are asked for at once."""
        self._partitions = tuple(partitions)
        self._spans, self._asked = {}, {}
        self._next = Deadline.after(self._clock, 0)
        self.known()

    def known(self) -> Mapping[Partition, Span]:
        """What Kafka answered last; a partition of which it said nothing, or an error, is missing."""
        if self._asked and all(future.done() for futures in self._asked.values() for future in futures.values()):
            begins, ends = (_offsets(futures) for futures in self._asked.values())
            self._spans = {partition: Span(begins[partition], end) for partition, end in ends.items() if partition in begins}
            self._asked = {}
        if self._partitions and not self._asked and self._next.passed():
            self._next = Deadline.after(self._clock, ASKED_EVERY_S)
            self._asked = {spec: self._ask(spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest())}
        return self._spans

    def _ask(self, spec: OffsetSpec) -> dict[TopicPartition, Future[Any]]:
        asked = {TopicPartition(partition.topic, partition.number): spec for partition in self._partitions}
        found: dict[TopicPartition, Future[Any]] = self._admin().list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=MAX_CALL_S
        )
        return found


def _offsets(futures: Mapping[TopicPartition, Future[Any]]) -> dict[Partition, int]:
    """Offset by partition, without those that Kafka could not tell: it is away, or the topic is."""
    return {Partition(part.topic, part.partition): future.result().offset for part, future in futures.items() if future.exception() is None}
