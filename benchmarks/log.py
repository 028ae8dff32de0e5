"""Records put into Kafka so that a reader meets them all at once, and topics emptied between two runs."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.servers import until
from mliot.messages import CHECKPOINT_TOPIC, TOPICS
from mliot.settings import Settings
from streaming.kafka.client import KafkaSettings, produce
from streaming.runtime.effects import Emit
from warehouse.records import uncollected

PATIENCE_S = 120
BARE, BARE_UNCOLLECTED = "bare consumer", "bare consumer, collector off"
AGAIN = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NON_EMPTY_GROUP,
    KafkaError._TIMED_OUT,  # the client does not ask again for a coordinator that was not there yet
)
ANSWER_S = 5
MOST = 5000
"""Records that a peer asks of its client at once, as our services do."""


class Backlog:
    """Records written in one transaction that is open until :meth:`show`: a running service of ours, which reads what is committed only,
    sees none of them before and all of them then, and their producer takes no time from it."""

    def __init__(self, settings: Settings, emits: Iterable[Emit]) -> None:
        longest_ms = PATIENCE_S * 1000
        config = KafkaSettings.of(settings, "backlog").producer(
            **{"transactional.id": "backlog", "transaction.timeout.ms": longest_ms, "message.timeout.ms": longest_ms}
        )
        self._producer = Producer(config)
        self._producer.init_transactions(PATIENCE_S)
        self._producer.begin_transaction()
        for emit in emits:
            produce(self._producer, emit)
            self._producer.poll(0)
        self._producer.flush(PATIENCE_S)

    def show(self) -> float:
        """Returns the reading of ``perf_counter`` at which the records came into sight."""
        began = time.perf_counter()
        self._producer.commit_transaction(PATIENCE_S)
        return began


def empty(settings: Settings, *services: str) -> None:
    """Every topic without records, and the groups of ``services``, which do not run, without positions."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_address})
    groups = [KafkaSettings.of(settings, service).group for service in services]
    topics = [topic for topic in TOPICS if topic != CHECKPOINT_TOPIC]
    everything = [TopicPartition(topic, number, OFFSET_END) for topic in topics for number in range(settings.partitions)]
    until(
        "the groups are gone",
        lambda: not groups or _done(admin.delete_consumer_groups(groups, request_timeout=ANSWER_S).values()),
        PATIENCE_S,
    )
    until("the topics are empty", lambda: _done(admin.delete_records(everything).values()), PATIENCE_S)


def _done(deletions: Iterable[Future[Any]]) -> bool:
    """False where Kafka asks to try again, as it does for a moment after its start and after a member's end."""
    for deletion in deletions:
        failure = deletion.exception(PATIENCE_S)
        if isinstance(failure, KafkaException) and failure.args[0].code() in AGAIN:
            return False
        if failure is not None and not (isinstance(failure, KafkaException) and failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND):
            raise failure
    return True


@contextmanager
def reading(settings: Settings, topic: str, **more: object) -> Iterator[Consumer]:
    """A plain consumer of all that is committed to ``topic``, from its beginning; everything else as the client has it."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_address, "group.id": "peer", "enable.auto.commit": False, **more})
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(settings.partitions)])
    try:
        yield consumer
    finally:
        consumer.close()


def first_batch(consumer: Consumer) -> Sequence[Message]:
    """The first records that ``consumer`` gets; a peer's time runs from here, so that connecting does not count."""
    return until("a first record", lambda: consumer.consume(MOST, 1.0), PATIENCE_S)


def bare_rate(settings: Settings, topic: str, records: int) -> float:
    """Records a second that a consumer gets which decodes and keeps nothing; the topic holds at least so many."""
    with reading(settings, topic) as consumer:
        got = first = len(first_batch(consumer))
        began = time.perf_counter()
        while got < records:
            got += len(consumer.consume(min(MOST, records - got), 1.0))  # asked for more than there is, it would wait in vain
        return (got - first) / (time.perf_counter() - began)


def bare_rate_uncollected(settings: Settings, topic: str, records: int) -> float:
    """:func:`bare_rate` without Python's cyclic collector, which looks through all of this process for every few hundred messages."""
    with uncollected():
        return bare_rate(settings, topic, records)


def everything(settings: Settings, topic: str) -> list[Message]:
    """All that is committed to ``topic``."""
    found: list[Message] = []
    with reading(settings, topic, **{"enable.partition.eof": True}) as consumer:
        left = set(range(settings.partitions))
        while left:
            for message in consumer.consume(MOST, 0.2):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= {message.partition()}
                else:
                    raise KafkaException(error)
    return found
