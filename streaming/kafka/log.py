"""The log port on a real Kafka: a member of a consumer group that reads, and hands what it writes to transactions."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from mliot.clock import Clock, Deadline, SystemClock
from mliot.errors import Fatal, Transient
from mliot.fields import is_traceparent
from streaming.kafka.client import MAX_CALL_S, KafkaSettings
from streaming.kafka.delivery import Delivery
from streaming.kafka.logends import LogEnds, records_behind
from streaming.kafka.producer import KafkaProducer
from streaming.kafka.topicids import TopicIds, position_of
from streaming.kafka.transactions import Transactions
from streaming.runtime.effects import Assignment, Batch, Commit, Deliver, Open, Partition, Read, Recall, Record, Rewound, Seek

log = structlog.get_logger()
ASSIGNED_S = 30.0
"""A member whom Kafka answers and tells nothing for so long is stuck. A group that lets another member finish its batch takes seconds."""


class KafkaLog:
    """The log port; one consumer and one transactional producer, used from one thread."""

    def __init__(self, settings: KafkaSettings, clock: Clock | None = None, *, reads_only: bool = False) -> None:
        """``reads_only``: positions are kept elsewhere, so no transactional producer is made."""
        self._settings = settings
        self._reads_only = reads_only
        self._clock = clock or SystemClock()
        self._consumer: Consumer | None = None
        self._topics: tuple[str, ...] = ()
        self._assigned: tuple[TopicPartition, ...] = ()
        self._moved = ""
        self._told_by: Deadline | None = None
        self._membership: Any = None
        self._sought: dict[Partition, int] = {}
        self._at_end: dict[Partition, int] = {}
        self._down = ""
        self._broken = ""
        self._transactions = Transactions(lambda: KafkaProducer(settings, self._clock, self._error))
        self._delivery = Delivery(settings, self._clock, self._error)
        admin = cache(lambda: AdminClient(settings.client()))
        self._topic_ids = TopicIds(settings, self._clock, admin)
        self._ends = LogEnds(admin, self._clock)

    def __enter__(self) -> "KafkaLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the group at once, so that the partitions move without waiting for a session timeout."""
        self._transactions.drop()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    # Reading

    def open(self, effect: Open) -> Assignment:
        if not self._reads_only:
            self._transactions.ready()
        consumer = self._join(effect.topics)
        if not self._assigned:
            self._note(consumer.consume(1, 0.5))
        if not self._assigned:
            self._leave_stuck(consumer)
            raise Transient(self._away("no partitions are assigned yet"))
        self._moved = ""
        self._membership = consumer.consumer_group_metadata()
        topic_ids = self._topic_ids.settle(effect.topics)
        try:
            committed = consumer.committed(list(self._assigned), timeout=MAX_CALL_S)
        except KafkaException as error:  # also while offsets of an unfinished transaction are pending
            raise Transient(self._away(f"committed offsets are not to be had: {error.args[0].str()}")) from error
        for part in committed:
            if part.error is not None:
                raise Transient(self._away(f"committed offset of {part.topic}-{part.partition}: {part.error.str()}"))
        return {
            Partition(p.topic, p.partition): position_of(max(p.offset, 0), (p.metadata or "") if p.offset >= 0 else "", topic_ids[p.topic])
            for p in committed
        }

    def seek(self, effect: Seek) -> None:
        consumer = self._joined()
        self._at_end.clear()
        self._sought = dict(effect.offsets)
        self._ends.follow(effect.offsets)
        consumer.assign([TopicPartition(p.topic, p.number, offset or OFFSET_BEGINNING) for p, offset in effect.offsets.items()])
        # a partition that was revoked while idle() had it paused comes back paused, and would stay silent for ever
        consumer.resume([TopicPartition(partition.topic, partition.number) for partition in effect.offsets])

    def read(self, effect: Read) -> Batch:
        consumer = self._joined()
        messages = consumer.consume(1, effect.wait_ms / 1000)
        records = self._note(messages)
        if records and effect.rows > 1:
            records += self._note(consumer.consume(effect.rows - 1, effect.fill_ms / 1000))
        if self._moved:
            raise Rewound(self._moved)
        self._check_topic_ids(consumer)
        if not records and self._down:
            self._probe(consumer)
        return Batch(records, frozenset(self._at_end), self._clock.now_ms())

    def recall(self, effect: Recall) -> list[Record]:
        """Reads with a consumer of its own, so that the position of the group's is untouched.

        From and up to what an uncommitted reader sees: a commit that has returned may still be writing its markers, and for a committed
        reader the log ends before the newest records until they are there. However much there is to read: :class:`Transient` only where
        nothing came for as long as a commit may take.
        """
        config = self._settings.client(
            **{
                "group.id": f"{self._settings.group}-recall",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        consumer = Consumer(config)
        try:
            admin = AdminClient(self._settings.client())
            ends = _offsets(admin, effect, OffsetSpec.latest())
            begins = _offsets(admin, effect, OffsetSpec.for_timestamp(max(effect.since_ms, 0)))  # -1: nothing is that new
            consumer.assign([TopicPartition(effect.topic, n, begins[n] if begins[n] >= 0 else ends[n]) for n in effect.numbers])
            return list(self._until(ends, consumer, effect))
        except KafkaException as error:
            raise Transient(self._away(f"recall of {effect.topic}: {error.args[0].str()}")) from error
        finally:
            consumer.close()

    def _until(self, ends: dict[int, int], consumer: Consumer, effect: Recall) -> Iterable[Record]:
        left = set(effect.numbers)
        deadline = Deadline.after(self._clock, self._settings.transaction_s)
        while left:
            came = False
            for message in consumer.consume(5000, 0.2):
                error = message.error()
                if error is None:
                    came = True
                    yield _record(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    partition, offset = _end(message)
                    if offset >= ends[partition] and partition in left:
                        came = True
                        left.discard(partition)
                else:
                    raise KafkaException(error)
            if came:
                deadline = Deadline.after(self._clock, self._settings.transaction_s)
            elif left and deadline.passed():
                raise Transient(self._away(f"recall of {effect.topic} came no further for {self._settings.transaction_s:g} s"))

    def lag(self) -> int | None:
        """Offsets not yet read of what this instance is assigned; None while that is not known. Never waits."""
        spans = self._ends.known()
        if self._consumer is None or not self._assigned:
            return None
        at = dict(self._sought)
        for part in self._consumer.position([TopicPartition(*partition) for partition in at]):
            partition = Partition(part.topic, part.partition)
            at[partition] = max(at[partition], part.offset, self._at_end.get(partition, 0))  # nothing read yet: no position
        return records_behind(at, spans)

    def idle(self, seconds: float) -> None:
        """Waits without reading, yet stays a member of the group. Raises :class:`Rewound` where partitions moved meanwhile."""
        if self._consumer is None:
            if not self._delivery.wait(seconds):
                time.sleep(seconds)
            return
        paused = list(self._assigned)
        self._consumer.pause(paused)
        try:
            if self._note(self._consumer.consume(1, seconds)):
                raise Rewound("a record arrived while reading was paused")
        finally:
            if self._assigned == tuple(paused):
                self._consumer.resume(paused)
        if self._moved:
            moved, self._moved = self._moved, ""  # said once; whoever is rewound begins with Open
            raise Rewound(moved)

    def _join(self, topics: tuple[str, ...]) -> Consumer:
        if self._consumer is None or self._topics != topics:
            self._consumer = Consumer(
                self._settings.client(
                    **{
                        "group.id": self._settings.group,
                        # no static membership: a Kafka that was killed fences static members for good when it comes back
                        "session.timeout.ms": 6000,
                        "heartbeat.interval.ms": 1500,
                        "enable.auto.commit": False,
                        "isolation.level": "read_committed",
                        "auto.offset.reset": "earliest",
                        "enable.partition.eof": True,
                        "queued.min.messages": 20_000,
                        "fetch.wait.max.ms": 250,
                        "error_cb": self._error,
                    }
                )
            )
            self._topics = topics
            self._told_by = Deadline.after(self._clock, ASSIGNED_S)
            self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        return self._consumer

    def _leave_stuck(self, consumer: Consumer) -> None:
        """Throws away a client that Kafka answers and that is yet not told its partitions, not even that it gets none.

        Seen once, after a Kafka that stood still for half a minute. It is not closed, which waits for the group to let it go. Raises
        :class:`Transient` where Kafka is away.
        """
        if self._told_by is None or not self._told_by.passed():
            return
        self._told_by = Deadline.after(self._clock, ASSIGNED_S)
        self._probe(consumer)
        log.warning("joins the group anew", service=self._settings.service, reason=f"nothing was assigned within {ASSIGNED_S:g} s")
        self._consumer = None

    def _joined(self) -> Consumer:
        if self._consumer is None:
            raise Fatal("read before the group was joined")
        if self._moved:
            raise Rewound(self._moved)
        return self._consumer

    def _note(self, messages: Sequence[Any]) -> list[Record]:
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(_record(message))
                if self._at_end:
                    self._at_end.pop(Partition(message.topic(), message.partition()), None)
            elif error.code() == KafkaError._PARTITION_EOF:  # said once: it must not be forgotten for records that came before it
                self._at_end[Partition(message.topic(), message.partition())] = message.offset()
            else:
                self._error(error)
        if self._broken:
            raise Fatal(f"Kafka at {self._settings.bootstrap}: {self._broken}")
        if records:
            self._down = ""
        return records

    def _check_topic_ids(self, consumer: Consumer) -> None:
        """Raises :class:`Rewound` where a topic was deleted and made again; with the client goes the leader epoch of the former one."""
        over = self._topic_ids.over()
        if over:
            consumer.close()
            self._consumer = None
            raise Rewound(f"{over} was deleted and made again")

    def _probe(self, consumer: Consumer) -> None:
        try:
            consumer.list_topics(timeout=1.0)
        except KafkaException as error:
            raise Transient(self._away(error.args[0].str())) from error
        self._down = ""

    def _error(self, error: KafkaError) -> None:
        """Called by the client. What it cannot recover from must end the process: the client itself would stay silent for ever."""
        if error.fatal():
            self._broken = error.str()
        elif error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
            self._down = error.str()
        else:
            log.warning("kafka client", service=self._settings.service, error=error.str())

    def _on_assign(self, _: Consumer, parts: list[TopicPartition]) -> None:
        self._assigned = tuple(TopicPartition(part.topic, part.partition) for part in parts)
        self._moved = "partitions were assigned"
        self._told_by = None

    def _on_revoke(self, _: Consumer, parts: list[TopicPartition]) -> None:
        self._assigned = ()
        self._at_end.clear()
        self._moved = f"{len(parts)} partitions were revoked"
        self._told_by = Deadline.after(self._clock, ASSIGNED_S)

    def _away(self, detail: str) -> str:
        return f"Kafka at {self._settings.bootstrap}: {self._down or detail}"

    # Writing

    def commit(self, effect: Commit) -> None:
        """One transaction: all of it, or :class:`Rewound`. As the member that was assigned what was read, whatever the group did since."""
        self._joined()
        positions = {partition: at._replace(topic_id=self._topic_ids.known[partition.topic]) for partition, at in effect.positions.items()}
        self._transactions.commit(replace(effect, positions=positions), self._membership)

    def deliver(self, effect: Deliver) -> None:
        self._delivery.deliver(effect)


def _offsets(admin: AdminClient, effect: Recall, where: OffsetSpec) -> dict[int, int]:
    asked = {TopicPartition(effect.topic, number): where for number in effect.numbers}
    found = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=MAX_CALL_S)
    return {partition.partition: future.result().offset for partition, future in found.items()}


def _end(message: Any) -> tuple[int, int]:
    """Partition and offset of an end-of-partition event."""
    return int(message.partition()), int(message.offset())


def _record(message: Any) -> Record:
    key, value, headers = message.key(), message.value(), message.headers()
    traceparent = next((v.decode("ascii", "replace") for k, v in headers if k == "traceparent" and v), "") if headers else ""
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        key.decode("utf-8", "replace") if key else "",
        value or b"",
        traceparent if is_traceparent(traceparent) else "",
    )
