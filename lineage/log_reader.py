"""Reads whole topics of Kafka, committed records only, up to where they ended at a given moment."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from lineage.audit import LogRecord, Place
from mliot.clock import Clock, Deadline
from mliot.errors import Transient

CALL_S = 5.0
STALL_S = 30.0
"""A topic that yields nothing for this long although its end is not reached: Kafka is away."""
_BATCH = 5000
_FILL_S = 0.05


class LogReader:
    """Reads from the Kafka at ``bootstrap``. Every method raises :class:`Transient` with the address where Kafka is away."""

    def __init__(self, bootstrap: str, clock: Clock) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._admin = AdminClient(self._client())

    def partitions(self, topics: tuple[str, ...]) -> Mapping[str, tuple[int, ...]]:
        """The partitions of those of ``topics`` that exist."""
        try:
            known = self._admin.list_topics(timeout=CALL_S).topics
        except KafkaException as error:
            raise self._away(error) from error
        return {topic: tuple(sorted(known[topic].partitions)) for topic in topics if topic in known and known[topic].error is None}

    def begins(self, topic: str, numbers: tuple[int, ...]) -> dict[Place, int]:
        """The first offset still kept, by partition."""
        return self._offsets(topic, numbers, OffsetSpec.earliest())

    def ends(self, topic: str, numbers: tuple[int, ...]) -> dict[Place, int]:
        """The offset after the last committed record, by partition: records of transactions under way are not there yet."""
        return self._offsets(topic, numbers, OffsetSpec.latest())

    def _offsets(self, topic: str, numbers: tuple[int, ...], spec: OffsetSpec) -> dict[Place, int]:
        asked = {TopicPartition(topic, number): spec for number in numbers}
        answers: Mapping[TopicPartition, Future[object]] = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=CALL_S
        )
        try:
            return {(part.topic, part.partition): answer.result().offset for part, answer in answers.items()}  # type: ignore[attr-defined]
        except KafkaException as error:
            raise self._away(error) from error

    def read(self, topic: str, begins: Mapping[Place, int], ends: Mapping[Place, int], settled: Mapping[Place, int]) -> Iterator[LogRecord]:
        """The records of ``topic`` from ``begins`` up to ``ends``, each partition in order; ``settled`` is the end as it was earlier on."""
        left = {number for (name, number), end in ends.items() if name == topic and end > begins[name, number]}
        if not left:
            return
        consumer = Consumer(
            self._client()
            | {
                "group.id": "mliot-audit",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,  # the end is told by an answer that is empty: no reason to delay it
            }
        )
        try:
            consumer.assign([TopicPartition(topic, number, begins[topic, number]) for number in left])
            deadline = Deadline.after(self._clock, STALL_S)
            while left:
                for message in consumer.consume(_BATCH, _FILL_S):
                    deadline = Deadline.after(self._clock, STALL_S)
                    number, offset = message.partition(), message.offset()
                    assert number is not None, message
                    assert offset is not None, message
                    end = ends[topic, number]
                    error = message.error()
                    if error is None and number in left and offset < end:
                        yield LogRecord(number, offset, message.value() or b"", offset < settled.get((topic, number), 0))
                    elif error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise self._away(KafkaException(error))
                    # The last offsets may be marks of transactions, which are no records: then the end, or a later record, tells.
                    if offset >= (end if error is not None else end - 1):
                        left.discard(number)
                if deadline.passed():
                    raise Transient(f"Kafka at {self._bootstrap}: {topic} yields nothing although its end is not reached")
        finally:
            consumer.close()

    def _client(self) -> dict[str, str | int | float | bool]:
        # What librdkafka would log to the terminal comes back as an error of the call, in one line.
        return {"bootstrap.servers": self._bootstrap, "client.id": "mliot-audit", "log_level": 0, "socket.timeout.ms": int(CALL_S * 1000)}

    def _away(self, error: KafkaException) -> Transient:
        return Transient(f"Kafka at {self._bootstrap} does not answer: {error.args[0].str()}; see `mliot status`")
