"""A late EndTxn on the real Kafka: what it does to a producer that is used on, and what to one that is thrown away after every doubt.

A copier reads one record after the other and writes each to another topic, in the loop and on the log port that every service has. A proxy
holds the first EndTxn back and cuts its connection, so that librdkafka sends it again and says nothing; the first one arrives in the middle
of the next transaction:

    late abort    a: begin, produce, abort ........ again a: begin, produce, <- the late abort, offsets, commit
    late commit   a: begin, produce, commit ....... b: begin, produce, <- the late commit, then this attempt fails; again b
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from mliot.clock import Deadline, SystemClock
from mliot.services import ServiceStatus
from mliot.settings import Settings
from streaming.kafka.client import MAX_CALL_S, KafkaSettings
from streaming.kafka.log import KafkaLog
from streaming.kafka.producer import KafkaProducer
from streaming.kafka.transactions import Transactions
from streaming.runtime.driver import Driver, log_performers
from streaming.runtime.effects import Commit, Effects, Emit, Open, Outcome, Read, Record, Seek
from tests.faults.kafkaproxy import PRODUCE, KafkaProxy

LATE = ("abort", "commit")
RECORDS = ("a", "b", "c")
WITHIN_S = 60.0


class AbortingProducer(KafkaProducer):
    """What most applications do: a transaction that failed is aborted."""

    def abort(self) -> None:
        self._producer.abort_transaction(MAX_CALL_S)


class Trusting(Transactions):
    """The remedy switched off: the next transaction is begun on the same producer, whatever was sent twice. Only an abort that fails makes
    it another one, as it would make another process."""

    _producer: AbortingProducer | None

    def doubt(self) -> str:
        return ""

    def drop(self) -> None:
        try:
            if self._producer is not None:
                self._producer.abort()
        except KafkaException:
            super().drop()


class Failed(Exception):
    """An attempt that was meant to fail."""


class Paced(list[Emit]):
    """Records of which the transaction takes the last only after ``afterwards``: a moment between producing and committing."""

    def __init__(self, emits: Sequence[Emit], afterwards: Callable[[], None]) -> None:
        super().__init__(emits)
        self._afterwards = afterwards

    def __iter__(self) -> Iterator[Emit]:
        yield from super().__iter__()
        self._afterwards()


@dataclass
class Copied:
    """What came of it: how often each record stands in the target, and what Kafka answered to the late EndTxn (None: none was sent)."""

    copies: Counter[str]
    answer: int | None

    @property
    def lost(self) -> list[str]:
        return [value for value in RECORDS if not self.copies[value]]

    @property
    def twice(self) -> list[str]:
        return [value for value in RECORDS if self.copies[value] > 1]


class LateEnd:
    """The experiment on the Kafka that ``settings`` name. ``late`` is one of :data:`LATE`."""

    def __init__(self, settings: Settings, late: str, *, remedy: bool) -> None:
        self._late, self._remedy = late, remedy
        self._kafka = settings.kafka_address
        self._proxy = KafkaProxy(settings.kafka_port)
        unique = uuid4().hex[:8]
        self._service, self._source, self._target = f"copier-{unique}", f"late-source-{unique}", f"late-target-{unique}"
        self._attempts: Counter[str] = Counter()
        self._answer: int | None = None
        self._client = ""
        self._done = False

    def run(self) -> Copied:
        """Copies every record; returns what is in the target then."""
        self._fill()
        status = ServiceStatus(self._service)
        with self._proxy, closing(self._log()) as log:
            self._client = KafkaSettings(self._kafka, self._service).client()["client.id"]
            driver = Driver(self._copier, log_performers(log), status=status, idle=log.idle)
            deadline = Deadline.after(SystemClock(), WITHIN_S)
            with closing(driver):
                while not self._done:
                    assert not deadline.passed(), f"only {dict(self._attempts)} were tried; {status.snapshot()}"
                    pause_s = driver.step()
                    if pause_s:
                        driver.wait(pause_s)
        return Copied(Counter(self._in_target()), self._answer)

    def _log(self) -> KafkaLog:
        settings = KafkaSettings(self._proxy.address, self._service)
        log = KafkaLog(settings)
        if not self._remedy:
            log._transactions = Trusting(lambda: AbortingProducer(settings, SystemClock(), log._error))
        return log

    def _copier(self) -> Effects:
        """The service: one record a transaction."""
        assignment = yield Open((self._source,))
        yield Seek({partition: position.offset for partition, position in assignment.items()})
        while True:
            batch = yield Read(1)
            for record in batch.records:
                yield Commit(self._outcome(record), batch.positions())
                self._done = record.value.decode() == RECORDS[-1]

    def _outcome(self, record: Record) -> Outcome:
        value = record.value.decode()
        self._attempts[value] += 1
        out = Outcome(self._service, 0)
        out.emits = Paced([Emit(self._target, "k", record.value)], self._script().get((value, self._attempts[value]), _go_on))
        return out

    def _script(self) -> dict[tuple[str, int], Callable[[], None]]:
        """What happens between producing and committing, by record and attempt."""
        if self._late == "abort":
            return {("a", 1): self._fail_and_hold, ("a", 2): self._let_it_arrive}
        return {("a", 1): self._hold, ("b", 1): self._let_it_arrive_and_fail}

    def _hold(self) -> None:
        self._proxy.hold_end(self._client)

    def _fail_and_hold(self) -> None:
        self._wait_produced()
        self._hold()
        raise Failed("as it was meant to")

    def _let_it_arrive(self) -> None:
        self._wait_produced()
        self._answer = self._proxy.release_end()

    def _let_it_arrive_and_fail(self) -> None:
        self._let_it_arrive()
        raise Failed("as it was meant to")

    def _wait_produced(self) -> None:
        """Until Kafka has every record that was handed to the producer: one request a record."""
        assert self._proxy.wait_answered(self._client, PRODUCE, self._attempts.total()), "the record does not reach Kafka"

    def _fill(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._kafka})
        for creation in admin.create_topics([NewTopic(topic, 1, 1) for topic in (self._source, self._target)]).values():
            creation.result(30)
        producer = Producer({"bootstrap.servers": self._kafka, "enable.idempotence": True})
        for value in RECORDS:
            producer.produce(self._source, value.encode(), "k")
        assert producer.flush(30) == 0, "the source could not be filled"

    def _in_target(self) -> list[str]:
        """The values that a committed reader finds, in order. (Not through the proxy.)"""
        consumer = Consumer(
            {"bootstrap.servers": self._kafka, "group.id": self._service, "isolation.level": "read_committed", "enable.partition.eof": True}
        )
        found: list[str] = []
        try:
            consumer.assign([TopicPartition(self._target, 0, 0)])
            deadline = Deadline.after(SystemClock(), WITHIN_S)
            while not deadline.passed():
                for message in consumer.consume(100, 1.0):
                    if message.error() is not None:  # the end
                        return found
                    found.append((message.value() or b"").decode())
            raise AssertionError(f"{self._target} has no end")
        finally:
            consumer.close()


def _go_on() -> None:
    """Nothing happens between."""
