"""The ports in memory: a log that follows Kafka's rules and a broker that follows MQTT's, with faults drawn by a seed.

They ship as classes rather than mocks, so that the services' own code runs against them; ``tests/contract`` holds the log to the same
cases as the real Kafka.
"""

import random
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from mliot.clock import ManualClock
from mliot.errors import Transient
from streaming.ports import (
    Acknowledge,
    Assignment,
    Batch,
    Commit,
    Deliver,
    Emit,
    Open,
    Outgoing,
    Partition,
    Position,
    Publish,
    Read,
    Recall,
    Receive,
    Received,
    Record,
    Rewound,
    Seek,
)


class Crash(Exception):
    """The process died here: nothing it held in memory is left."""


@dataclass
class Faults:
    """How often, from 0 to 1, each fault happens at a step where it can; the draw is by ``seed``."""

    seed: int = 0
    abort: float = 0.0
    crash_before_commit: float = 0.0
    crash_after_commit: float = 0.0
    away: float = 0.0
    redeliver: float = 0.0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def strikes(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def up_to(self, most: int) -> int:
        """A number from 1 to ``most``; all of it where the seed is 0, so that a plain test reads plain batches."""
        return most if self.seed == 0 else self._random.randint(1, most)

    def order(self, partitions: Iterable[Partition]) -> list[Partition]:
        listed = sorted(partitions)
        if self.seed:
            self._random.shuffle(listed)
        return listed


@dataclass
class SimulatedKafka:
    """The log itself: it outlives every client. A topic has ``partitions`` partitions from its first use on."""

    clock: ManualClock
    partitions: int = 2
    records: dict[Partition, list[Record]] = field(default_factory=lambda: defaultdict(list))
    committed: dict[tuple[str, Partition], Position] = field(default_factory=dict)

    def append(self, emits: Iterable[Emit]) -> None:
        for emit in emits:
            partition = Partition(emit.topic, crc32(emit.key.encode()) % self.partitions)
            held = self.records[partition]
            timestamp_ms = emit.timestamp_ms or self.clock.now_ms()
            held.append(Record(*partition, len(held), timestamp_ms, emit.key, emit.value, emit.traceparent))

    def topic(self, name: str) -> list[Record]:
        """Every record of a topic, partition by partition."""
        return [record for partition in sorted(self.records) if partition.topic == name for record in self.records[partition]]


class SimulatedLog:
    """The log port of one process; it is thrown away with the process."""

    def __init__(self, kafka: SimulatedKafka, group: str, faults: Faults | None = None) -> None:
        self._kafka = kafka
        self._group = group
        self._faults = faults or Faults()
        self._at: dict[Partition, int] = {}
        self.idle_reads = 0

    def open(self, effect: Open) -> Assignment:
        self._away()
        partitions = [Partition(topic, number) for topic in effect.topics for number in range(self._kafka.partitions)]
        assignment = {partition: self._kafka.committed.get((self._group, partition), Position(0)) for partition in partitions}
        self._at = {partition: position.offset for partition, position in assignment.items()}
        return assignment

    def seek(self, effect: Seek) -> None:
        self._at |= effect.offsets

    def read(self, effect: Read) -> Batch:
        self._away()
        left = self._faults.up_to(effect.rows)
        records: list[Record] = []
        for partition in self._faults.order(self._at):
            here = self._kafka.records[partition][self._at[partition] : self._at[partition] + left]
            records += here
            left -= len(here)
            self._at[partition] += len(here)
        if records:
            self.idle_reads = 0
        else:
            self.idle_reads += 1
            self._kafka.clock.advance(effect.wait_ms)
        at_end = frozenset(partition for partition, offset in self._at.items() if offset == len(self._kafka.records[partition]))
        return Batch(records, at_end, self._kafka.clock.now_ms())

    def recall(self, effect: Recall) -> list[Record]:
        self._away()
        found = []
        for number in effect.numbers:
            held = self._kafka.records[Partition(effect.topic, number)]
            first = next((record.offset for record in held if record.timestamp_ms >= effect.since_ms), len(held))
            found += held[first:]
        return found

    def commit(self, effect: Commit) -> None:
        """Everything at once, or nothing: a transaction that is aborted leaves no record that a committed reader sees."""
        if self._faults.strikes(self._faults.abort):
            raise Rewound("the transaction was aborted")
        if self._faults.strikes(self._faults.crash_before_commit):
            raise Crash("before the commit")
        self._kafka.append(effect.outcome.emits)
        self._kafka.committed |= {(self._group, partition): position for partition, position in effect.positions.items()}
        if self._faults.strikes(self._faults.crash_after_commit):
            raise Crash("after the commit")

    def deliver(self, effect: Deliver) -> None:
        self._away()
        self._kafka.append(effect.outcome.emits)

    def lag(self) -> int:
        return sum(len(self._kafka.records[partition]) - offset for partition, offset in self._at.items())

    def idle(self, seconds: float) -> None:
        self._kafka.clock.advance(round(seconds * 1000))

    def _away(self) -> None:
        if self._faults.strikes(self._faults.away):
            raise Transient("the simulated Kafka is away")


@dataclass
class SimulatedBroker:
    """The broker port: what was published to it waits, in order, until it is acknowledged; at times it is sent again."""

    clock: ManualClock
    faults: Faults = field(default_factory=Faults)
    published: list[Outgoing] = field(default_factory=list)
    _waiting: deque[Received] = field(default_factory=deque)
    _handed: dict[tuple[int, int], Received] = field(default_factory=dict)
    _next: int = 0
    idle_reads: int = 0

    def offer(self, topic: str, payload: bytes, traceparent: str = "") -> None:
        """A device publishes at QoS 1."""
        self._next += 1
        self._waiting.append(Received(topic, payload, traceparent, self.clock.now_ms(), (1, self._next)))

    def reconnect(self) -> None:
        """The consumer's connection broke: what it had not acknowledged comes again, first and in order."""
        self._waiting.extendleft(reversed(self._handed.values()))
        self._handed.clear()

    @property
    def unacknowledged(self) -> int:
        return len(self._waiting) + len(self._handed)

    def receive(self, effect: Receive) -> list[Received]:
        if self.faults.strikes(self.faults.redeliver):
            self.reconnect()
        batch = [self._waiting.popleft() for _ in range(min(self.faults.up_to(effect.most), len(self._waiting)))]
        self._handed |= {message.ticket: message for message in batch}
        self.idle_reads = 0 if batch else self.idle_reads + 1
        if not batch:
            self.clock.advance(effect.wait_ms)
        return batch

    def acknowledge(self, effect: Acknowledge) -> None:
        for ticket in effect.tickets:
            self._handed.pop(ticket, None)

    def publish(self, effect: Publish) -> None:
        self.published += effect.messages
