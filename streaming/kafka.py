"""The log port on a real Kafka: consume -> decide -> produce -> commit, exactly once.

**Why a producer is thrown away after every doubt.** librdkafka speaks transactions v1: when an EndTxn request is slow it is sent again
on a new connection, the call returns OK, and the first one may still arrive during the *next* transaction and end that one (KIP-890
describes the hole; only transactions v2 closes it). So no transaction is ever begun on a producer after an abort, after a timeout of a
commit, or after such a hidden resend: a new producer's ``init_transactions`` raises the epoch, which fences whatever is still under way,
and reading goes on from the committed offsets. See ``docs/decisions/late-commit.md``.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from mliot.clock import Clock, Deadline, SystemClock
from mliot.errors import Fatal, Transient
from mliot.settings import Settings
from streaming.ports import Assignment, Batch, Commit, Deliver, Emit, Open, Partition, Position, Read, Recall, Record, Rewound, Seek

LONGEST_CALL_S = 5.0
"""No single call to the client blocks longer, so that a stop and the status stay prompt while Kafka is away."""
LARGEST_RECORD = 4_000_000
"""A dead letter holds the original in base64: an MQTT message of the broker's 1 MB fits with room."""
log = structlog.get_logger()


@dataclass(frozen=True)
class KafkaSettings:
    """What the log port needs to know: where Kafka is, as whom to read and write, and the budget of one commit."""

    bootstrap: str
    service: str
    instance: str = "0"
    transaction_s: float = 30.0

    @classmethod
    def of(cls, settings: Settings, service: str) -> "KafkaSettings":
        return cls(settings.kafka_address, service, settings.instance, settings.transaction_s)

    @property
    def group(self) -> str:
        return f"mliot-{self.service}"

    def client(self, **more: Any) -> dict[str, Any]:
        """What every client of this service has in common; reconnects are quick, since a broker that restarts is ordinary."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": f"{self.group}-{self.instance}",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "socket.keepalive.enable": True,
            **more,
        }


class _ResendWatch(logging.Handler):
    """Remembers whether librdkafka logged a lost connection or a request timed out: the only sign of a hidden resend."""

    SIGNS = ("REQTMOUT", "FAIL", "TIMEOUT")

    def __init__(self) -> None:
        super().__init__()
        self.seen = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(sign in text for sign in self.SIGNS):
            self.seen = text


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
        self._at_end: set[Partition] = set()
        self._down = ""
        self._transactional: Producer | None = None
        self._watch = _ResendWatch()
        self._idempotent: Producer | None = None
        self._delivering: Deliver | None = None
        self._undelivered = 0
        self._undeliverable = ""

    def __enter__(self) -> "KafkaLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the group at once, so that the partitions move without waiting for a session timeout."""
        self._drop_transactional()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    # Reading

    def open(self, effect: Open) -> Assignment:
        if not self._reads_only:
            self._need_transactional()
        consumer = self._join(effect.topics)
        if not self._assigned:
            self._note(consumer.consume(1, 0.5))
        if not self._assigned:
            raise Transient(self._away("no partitions are assigned yet"))
        self._moved = ""
        try:
            committed = consumer.committed(list(self._assigned), timeout=LONGEST_CALL_S)
        except KafkaException as error:  # also while offsets of an unfinished transaction are pending
            raise Transient(self._away(f"committed offsets are not to be had: {error.args[0].str()}")) from error
        for part in committed:
            if part.error is not None:
                raise Transient(self._away(f"committed offset of {part.topic}-{part.partition}: {part.error.str()}"))
        return {Partition(p.topic, p.partition): Position(max(p.offset, 0), (p.metadata or "") if p.offset >= 0 else "") for p in committed}

    def seek(self, effect: Seek) -> None:
        consumer = self._joined()
        self._at_end.clear()
        consumer.assign([TopicPartition(p.topic, p.number, offset or OFFSET_BEGINNING) for p, offset in effect.offsets.items()])

    def read(self, effect: Read) -> Batch:
        consumer = self._joined()
        messages = consumer.consume(1, effect.wait_ms / 1000)
        records = self._note(messages)
        if records and effect.rows > 1:
            records += self._note(consumer.consume(effect.rows - 1, effect.fill_ms / 1000))
        if self._moved:
            raise Rewound(self._moved)
        if not records and self._down:
            self._probe(consumer)
        return Batch(records, frozenset(self._at_end), self._clock.now_ms())

    def recall(self, effect: Recall) -> list[Record]:
        """Reads with a consumer of its own, so that the position of the group's is untouched."""
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
            wanted = [TopicPartition(effect.topic, number, max(effect.since_ms, 0)) for number in effect.numbers]
            consumer.assign(consumer.offsets_for_times(wanted, timeout=LONGEST_CALL_S))
            return list(self._until_end(consumer, effect))
        except KafkaException as error:
            raise Transient(self._away(f"recall of {effect.topic}: {error.args[0].str()}")) from error
        finally:
            consumer.close()

    def _until_end(self, consumer: Consumer, effect: Recall) -> Iterable[Record]:
        left = set(effect.numbers)
        deadline = Deadline.after(self._clock, self._settings.transaction_s)
        while left:
            for message in consumer.consume(5000, 0.2):
                error = message.error()
                if error is None:
                    yield _record(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(_record_partition(message))
                else:
                    raise KafkaException(error)
            if left and deadline.passed():
                raise Transient(self._away(f"recall of {effect.topic} did not reach the end"))

    def lag(self) -> int:
        if self._consumer is None or not self._assigned:
            return 0
        behind = 0
        for part in self._consumer.position(list(self._assigned)):
            low, high = self._consumer.get_watermark_offsets(part, cached=True)
            if part.offset >= 0 and high >= 0:
                behind += max(0, high - part.offset)
            elif high >= 0:
                behind += max(0, high - max(low, 0))
        return behind

    def idle(self, seconds: float) -> None:
        """Waits without reading, yet stays a member of the group. Raises :class:`Rewound` where partitions moved meanwhile."""
        if self._consumer is None:
            if self._idempotent is not None:
                self._idempotent.poll(seconds)
            else:
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
            raise Rewound(self._moved)

    def _join(self, topics: tuple[str, ...]) -> Consumer:
        if self._consumer is None or self._topics != topics:
            self._consumer = Consumer(
                self._settings.client(
                    **{
                        "group.id": self._settings.group,
                        "group.instance.id": f"{self._settings.group}-{self._settings.instance}",
                        "session.timeout.ms": 10_000,
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
            self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        return self._consumer

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
            elif error.code() == KafkaError._PARTITION_EOF:
                self._at_end.add(Partition(message.topic(), message.partition()))
            else:
                self._down = error.str()
        if records:
            self._at_end -= {Partition(record.topic, record.partition) for record in records}
            self._down = ""
        return records

    def _probe(self, consumer: Consumer) -> None:
        try:
            consumer.list_topics(timeout=1.0)
        except KafkaException as error:
            raise Transient(self._away(error.args[0].str())) from error
        self._down = ""

    def _error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
            self._down = error.str()
        else:
            log.warning("kafka client", service=self._settings.service, error=error.str())

    def _on_assign(self, _: Consumer, parts: list[TopicPartition]) -> None:
        self._assigned = tuple(TopicPartition(part.topic, part.partition) for part in parts)
        self._moved = "partitions were assigned"

    def _on_revoke(self, _: Consumer, parts: list[TopicPartition]) -> None:
        self._assigned = ()
        self._at_end.clear()
        self._moved = f"{len(parts)} partitions were revoked"

    def _away(self, detail: str) -> str:
        return f"Kafka at {self._settings.bootstrap}: {self._down or detail}"

    # Writing

    def commit(self, effect: Commit) -> None:
        """One transaction. Whatever goes wrong, the answer is the same: new producer, committed offsets, :class:`Rewound`."""
        consumer = self._joined()
        producer = self._need_transactional()
        budget = Deadline.after(self._clock, self._settings.transaction_s)
        offsets = [TopicPartition(p.topic, p.number, at.offset, at.note) for p, at in effect.positions.items()]
        producer.poll(0)  # an idle connection that was closed since the last commit raises no doubt
        self._watch.seen = ""
        try:
            producer.begin_transaction()  # 1
            self._produce(producer, effect.outcome.emits, budget)  # 2
            if offsets:
                producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), budget.left())  # 3
            producer.commit_transaction(budget.left())  # 4, flushes first
        except (KafkaException, BufferError) as error:
            self._drop_transactional()
            raise Rewound(f"the transaction did not commit: {error}") from error
        producer.poll(0)  # 5, serves the log lines that tell of a hidden resend
        if self._watch.seen:
            seen = self._watch.seen
            self._drop_transactional()
            raise Rewound(f"the commit may have been sent twice: {seen}")

    def deliver(self, effect: Deliver) -> None:
        """Writes at least once, in order, without duplicates of its own. Performed again, it waits on instead of writing again."""
        producer = self._need_idempotent()
        if self._delivering is not effect:
            self._delivering, self._undelivered, self._undeliverable = effect, len(effect.outcome.emits), ""
            for emit in effect.outcome.emits:
                self._produce_one(producer, emit, self._delivered)
        deadline = Deadline.after(self._clock, LONGEST_CALL_S / 2)
        while self._undelivered and not deadline.passed():
            producer.poll(min(0.1, deadline.left()))
        if self._undeliverable:
            raise Fatal(f"a record could not be written: {self._undeliverable}")
        if self._undelivered:
            raise Transient(self._away(f"{self._undelivered} records are not acknowledged yet"))
        self._delivering = None
        self._down = ""

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        self._undelivered -= 1
        if error is not None:
            self._undeliverable = error.str()

    def _produce(self, producer: Producer, emits: Iterable[Emit], budget: Deadline) -> None:
        for emit in emits:
            self._produce_one(producer, emit, None)
            if budget.passed():
                raise BufferError("the budget of the transaction is used up")

    def _produce_one(self, producer: Producer, emit: Emit, delivered: Any) -> None:
        headers: list[tuple[str, str | bytes | None]] | None = [("traceparent", emit.traceparent)] if emit.traceparent else None
        while True:
            try:
                producer.produce(emit.topic, emit.value, emit.key, headers=headers, timestamp=emit.timestamp_ms, on_delivery=delivered)
            except BufferError:
                producer.poll(0.05)
            else:
                return

    def _need_transactional(self) -> Producer:
        if self._transactional is None:
            self._watch = _ResendWatch()
            logger = logging.Logger(f"kafka.{self._settings.service}")
            logger.addHandler(self._watch)
            config = self._producer_config() | {
                "transactional.id": f"{self._settings.group}-{self._settings.instance}",
                "transaction.timeout.ms": int(self._settings.transaction_s * 1000),
                "message.timeout.ms": int(self._settings.transaction_s * 1000),
                # the default of 100 ms makes each next transaction sleep on CONCURRENT_TRANSACTIONS
                "retry.backoff.ms": 1,
                "retry.backoff.max.ms": 20,
            }
            producer = Producer(config, logger=logger)
            try:
                producer.init_transactions(LONGEST_CALL_S)
            except KafkaException as error:
                if error.args[0].fatal():
                    raise Fatal(f"transactions of {config['transactional.id']}: {error.args[0].str()}") from error
                raise Transient(self._away(f"transactions are not to be had: {error.args[0].str()}")) from error
            self._transactional = producer
        return self._transactional

    def _drop_transactional(self) -> None:
        if self._transactional is not None:
            self._transactional.purge()
            self._transactional = None

    def _need_idempotent(self) -> Producer:
        if self._idempotent is None:
            # no time limit: a record that MQTT was not yet acknowledged for waits as long as Kafka is away
            self._idempotent = Producer(self._producer_config() | {"message.timeout.ms": 0})
        return self._idempotent

    def _producer_config(self) -> dict[str, Any]:
        return self._settings.client(
            **{
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 2,
                "queue.buffering.max.messages": 200_000,
                "message.max.bytes": LARGEST_RECORD,
                "error_cb": self._error,
            }
        )


def _record_partition(message: Any) -> int:
    return int(message.partition())


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
        traceparent,
    )
