"""The effects that services yield, and what comes back: the whole surface between deciding and acting.

A service is a generator of effects. A driver performs each one, against the real Kafka, MQTT broker, model server and
PostgreSQL or against simulated ones, and sends the result back. Effects are plain data, so one that failed for a passing reason
(:class:`~mliot.errors.Transient`) is simply performed again; after an abort or a rebalance (:class:`Rewound`) the generator is
closed and a new one starts from what was committed, exactly as after a crash.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from mliot.errors import MliotError
from mliot.messages import DeadLetter, Message


class Rewound(MliotError):
    """What was read since the last commit does not count: partitions moved or a transaction was aborted."""


class Partition(NamedTuple):
    topic: str
    number: int


class Position(NamedTuple):
    """The next offset to read of a partition, and the service's own note beside it (JSON text, at most 4000 bytes).

    ``topic_id`` is the topic's (KIP-516): one that is deleted and made again has another. The log knows it, and says it where it
    answers a position.
    """

    offset: int
    note: str = ""
    topic_id: str = ""

    def counted_in(self, topic_id: str) -> "Position":
        """The same place under ``topic_id``, or the beginning where this one is under another. One that is not told ('') is no other."""
        return Position(0, "", topic_id) if self.topic_id and topic_id and self.topic_id != topic_id else self._replace(topic_id=topic_id)


class Record(NamedTuple):
    """One record of the log; its address is its identity there."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: bytes
    traceparent: str

    @property
    def address(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


class Emit(NamedTuple):
    """One record to be written: it lands in the partition that its key hashes to.

    One without a value is a tombstone: where the topic is compacted, nothing is left of its key. It is read with an empty value.
    """

    topic: str
    key: str
    value: bytes
    traceparent: str = ""
    timestamp_ms: int = 0


Assignment = Mapping[Partition, Position]
"""The partitions this instance reads, each with its committed position; offset 0 and no note where nothing was committed."""


class Batch(NamedTuple):
    """Records in the order of each partition, the partitions that are read to their end, and the time of reading."""

    records: Sequence[Record]
    at_end: frozenset[Partition]
    now_ms: int

    def positions(self) -> dict[Partition, Position]:
        """Where reading goes on after this batch, for the partitions it holds records of."""
        last = {(record.topic, record.partition): record.offset for record in self.records}
        return {Partition(*partition): Position(offset + 1) for partition, offset in last.items()}

    def still_behind(self, behind: Mapping[Partition, int], at: Mapping[Partition, int]) -> dict[Partition, int]:
        """Those of ``behind`` of which this batch reaches neither the offset in ``at`` nor the end: what was read before a restart is still
        being read again."""
        caught_up = self.at_end | {partition for partition, position in self.positions().items() if position.offset >= at[partition]}
        return {partition: oldest for partition, oldest in behind.items() if partition not in caught_up}


@dataclass
class Outcome:
    """What a ``decide`` makes of a batch: records to write and what became of each one read."""

    service: str
    now_ms: int
    emits: list[Emit] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    refused: set[str] = field(default_factory=set)
    """Addresses of the records that became dead letters."""
    ahead_ms: dict[str, int] = field(default_factory=dict)
    """The devices whose clocks run ahead, and by how much."""
    problem: str = ""
    """What people should look at although the service works, from this outcome on until the next; '' for nothing."""
    withheld: Mapping[str, str] | None = None
    """What the service cannot do for now, and why, by whom it is done for; None from a service that withholds nothing from anybody."""

    def emit(self, message: Message, key: str, traceparent: str = "", timestamp_ms: int = 0) -> None:
        self.emits.append(Emit(message.topic_name, key, message.encode(), traceparent, timestamp_ms))

    def reject(self, original: bytes, *, source: str, reason: str, key: str = "", traceparent: str = "") -> None:
        """Keeps the original whole, as a dead letter beside its reason."""
        letter = DeadLetter.of(
            original, source=source, service=self.service, reason=reason, at_ms=self.now_ms, key=key, traceparent=traceparent
        )
        self.emit(letter, key, traceparent)

    def reject_record(self, record: Record, reason: str) -> None:
        """Once: where several use cases refuse a record, the first one's reason is kept."""
        if record.address in self.refused:
            return
        self.reject(record.value, source=record.topic, reason=reason, key=record.key, traceparent=record.traceparent)
        self.refused.add(record.address)

    def settle(self, records: Sequence[Record], used: set[str]) -> None:
        """Counts each record once: ``used`` (addresses), else rejected, else passed; so that they add up to those read."""
        rejected = self.refused - used
        self.counts.update(read=len(records), used=len(used), rejected=len(rejected), passed=len(records) - len(used) - len(rejected))


# Effects on the log (Kafka).


@dataclass(frozen=True)
class Open:
    """Join the group for ``topics`` and wait for partitions. Answers :data:`Assignment`."""

    topics: tuple[str, ...]


@dataclass(frozen=True)
class Seek:
    """Read on from these offsets. Answers None."""

    offsets: Mapping[Partition, int]


@dataclass(frozen=True)
class Read:
    """Up to ``rows`` records, waiting for the first at most ``wait_ms`` and then ``fill_ms`` for more. Answers :class:`Batch`."""

    rows: int
    wait_ms: int = 250
    fill_ms: int = 25


@dataclass(frozen=True)
class Recall:
    """What was committed to ``topic`` in the partitions ``numbers`` from ``since_ms`` on. Answers a list of :class:`Record`."""

    topic: str
    numbers: tuple[int, ...]
    since_ms: int


@dataclass(frozen=True)
class Commit:
    """The outcome's records and the positions in one transaction: both, or neither (:class:`Rewound`). Answers None."""

    outcome: Outcome
    positions: Mapping[Partition, Position]


@dataclass(frozen=True)
class Deliver:
    """Writes the outcome's records outside a transaction and waits until all are acknowledged. Answers None."""

    outcome: Outcome


# Effects on the MQTT broker.


class Received(NamedTuple):
    """One MQTT message, not yet acknowledged; ``ticket`` names it towards the broker."""

    topic: str
    payload: bytes
    traceparent: str
    arrived_ms: int
    ticket: tuple[int, int]


@dataclass(frozen=True)
class Receive:
    """Up to ``most`` messages, waiting at most ``wait_ms`` for the first. Answers a list of :class:`Received`."""

    most: int
    wait_ms: int = 250


@dataclass(frozen=True)
class Acknowledge:
    """Acknowledges to the broker, in receipt order; those of a connection that is gone are skipped. Answers None."""

    tickets: Sequence[tuple[int, int]]


class Outgoing(NamedTuple):
    """One MQTT message to send, worth it from ``since_ms`` until ``until_ms``."""

    topic: str
    payload: bytes
    traceparent: str
    since_ms: int
    until_ms: int

    def left_s(self, now_ms: int) -> int:
        """What is left of its time, after which the broker throws it away undelivered (MQTT 5, section 3.3.2.3.3): whole seconds, rounded
        down, so that it never outlives itself. 0: it must not be sent any more. A clock that was set back adds nothing."""
        return max(0, (self.until_ms - max(now_ms, self.since_ms)) // 1000)


class Published(NamedTuple):
    """The messages that the broker has acknowledged, and the time once that was known."""

    taken: Sequence[Outgoing]
    now_ms: int


@dataclass(frozen=True)
class Publish:
    """Publishes at QoS 1, each as long as its time lasts, and waits for the broker's acknowledgements. Answers :class:`Published`.

    What the broker did not take in its time is given up, never sent later.
    """

    messages: Sequence[Outgoing]


# Effects on the model server and the store.


class Champion(NamedTuple):
    """Which version is in charge of a use case, and what it wants of a row: these columns of this feature model."""

    version: str
    features: str
    columns: tuple[str, ...]


class NotScored(NamedTuple):
    """Why rows of a use case are not scored; those of others may be.

    ``expected``: nothing is wrong, there is no champion yet.
    """

    why: str
    expected: bool = False


@dataclass(frozen=True)
class Champions:
    """Who is in charge of which use case. Answers ``Mapping[str, Champion | NotScored]``."""


@dataclass(frozen=True)
class Score:
    """At most :data:`learning.answers.MAX_ROWS` rows of one use case, each with the columns that its champion wants and no other.

    Answers :class:`Scores`, by whichever version is in charge when it is asked, or :class:`NotScored`. :class:`Transient` is for a server
    that is away or busy: one use case that cannot be scored is none.
    """

    use_case: str
    rows: Sequence[Mapping[str, float | None]]


class Scored(NamedTuple):
    """One answer; ``value`` is NaN where the model has none to this row."""

    value: float
    probability: float | None = None
    low: float | None = None
    high: float | None = None


class Scores(NamedTuple):
    model_version: str
    scores: Sequence[Scored]


@dataclass(frozen=True)
class Positions:
    """Where the store stands, of its own record, for partitions of topics with these ids. Answers ``Mapping[Partition, int]``."""

    topic_ids: Mapping[Partition, str]


@dataclass(frozen=True)
class Save:
    """Rows by topic, and the positions they lead from and to, in one transaction of the store; ``rejected`` of the ``read`` records
    could not be used, and are rows of dead letters.

    Answers the number of rows that were new. :class:`Rewound` where the store stands elsewhere than ``before``: another instance wrote.
    """

    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    read: int
    before: Mapping[Partition, int]
    after: Mapping[Partition, int]
    rejected: int = 0


Effect = Open | Seek | Read | Recall | Commit | Deliver | Receive | Acknowledge | Publish | Champions | Score | Positions | Save
Effects = Generator[Effect, Any, None]
Service = Callable[[], Effects]


class Log(Protocol):
    """The log port; ``streaming/kafka/log.py`` and ``streaming/simulated/`` implement it, ``tests/contract`` holds both to it."""

    def open(self, effect: Open) -> Assignment: ...
    def seek(self, effect: Seek) -> None: ...
    def read(self, effect: Read) -> Batch: ...
    def recall(self, effect: Recall) -> list[Record]: ...
    def commit(self, effect: Commit) -> None: ...
    def deliver(self, effect: Deliver) -> None: ...
    def lag(self) -> int | None: ...
    def idle(self, seconds: float) -> None: ...


class Broker(Protocol):
    """The MQTT port."""

    def receive(self, effect: Receive) -> list[Received]: ...
    def acknowledge(self, effect: Acknowledge) -> None: ...
    def publish(self, effect: Publish) -> Published: ...


class ModelServer(Protocol):
    """The model port; ``streaming/adapters/model.py`` and ``streaming/simulated/model.py`` implement it, ``tests/contract`` holds both
    to it."""

    def champions(self, _: Champions, /) -> Mapping[str, Champion | NotScored]: ...
    def score(self, effect: Score) -> Scores | NotScored: ...
