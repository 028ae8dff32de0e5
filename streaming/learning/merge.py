"""Records of several topics in the order of event time: in a catch-up one topic is read hours ahead of another.

The rule is that of Kafka Streams (KIP-353): of the topics' heads the earliest goes first, and a topic that shows none yet is waited for
unless it is read to its end. Each topic keeps its own order, so that what was taken from it is always a prefix.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from streaming.runtime.effects import Partition, Record

M = TypeVar("M")


class Item(NamedTuple, Generic[M]):
    """A record with what was read in it; ``time_ms`` None passes at once."""

    record: Record
    message: M
    time_ms: int | None


class EventTimeMerge(Generic[M]):
    """One queue a topic and partition; partitions of the same number are merged with each other."""

    def __init__(self, partitions: Iterable[Partition]) -> None:
        self._queues: dict[Partition, deque[Item[M]]] = {partition: deque() for partition in partitions}

    def add(self, items: Iterable[Item[M]]) -> None:
        for item in items:
            self._queues[Partition(item.record.topic, item.record.partition)].append(item)

    def ready(self, at_end: frozenset[Partition]) -> list[Item[M]]:
        """Takes out what may go on, earliest first."""
        taken: list[Item[M]] = []
        for number in sorted({partition.number for partition in self._queues}):
            mine = [partition for partition in sorted(self._queues) if partition.number == number]
            while (following := self._next(mine, at_end)) is not None:
                taken.append(self._queues[following].popleft())
        return taken

    def held(self) -> dict[Partition, int]:
        """By partition, the offset of the first record that still waits."""
        return {partition: queue[0].record.offset for partition, queue in self._queues.items() if queue}

    def _next(self, mine: Sequence[Partition], at_end: frozenset[Partition]) -> Partition | None:
        heads = [(queue[0].time_ms, partition) for partition in mine if (queue := self._queues[partition])]
        for time_ms, partition in heads:
            if time_ms is None:
                return partition
        if not heads or any(not self._queues[partition] and partition not in at_end for partition in mine):
            return None
        return min((time_ms, partition) for time_ms, partition in heads if time_ms is not None)[1]
