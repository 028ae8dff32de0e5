"""A topic that is deleted and made again, on a Kafka that was restarted since its making: the leader epoch of the new one is lower.

A client that has seen the higher one would go on waiting at an offset that is no more.
"""

from collections.abc import Callable, Iterator, Sequence
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from stack.standalone import StandaloneServer
from streaming.kafka.client import KafkaSettings
from streaming.kafka.log import KafkaLog
from streaming.runtime.effects import Assignment, Batch, Commit, Open, Outcome, Partition, Positions, Read, Record, Rewound, Save, Seek
from streaming.sinks.postgres import PostgresStore

pytestmark = pytest.mark.stack


class RestartedTopic:
    """A topic of one partition whose leader epoch is not the first."""

    def __init__(self, server: StandaloneServer) -> None:
        self.name = f"stream-a-{uuid4().hex[:8]}"
        self.bootstrap = server.settings.kafka_address
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self._make()
        server.stop()
        server.start()

    def make_again(self) -> None:
        self._admin.delete_topics([self.name])[self.name].result(30)
        deadline = Deadline.after(SystemClock(), 30)
        while self.name in self._admin.list_topics(timeout=10).topics:
            assert not deadline.passed()
        self._make()

    def write(self, *values: str) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for value in values:
            producer.produce(self.name, value.encode(), "k")
        assert producer.flush(30) == 0

    def _make(self) -> None:
        self._admin.create_topics([NewTopic(self.name, 1, 1)])[self.name].result(30)


@pytest.fixture
def topic(kafka_server: StandaloneServer) -> RestartedTopic:
    return RestartedTopic(kafka_server)


@pytest.fixture
def reader(topic: RestartedTopic) -> Iterator[Callable[[], KafkaLog]]:
    """A new process of the reader; the one before is gone."""
    service, running = f"reader-{uuid4().hex[:8]}", []

    def make() -> KafkaLog:
        while running:
            running.pop().close()
        running.append(KafkaLog(KafkaSettings(topic.bootstrap, service)))
        return running[0]

    yield make
    running.pop().close()


def opened(log: KafkaLog, topic: str) -> Assignment:
    """What the group says; its positions are read from."""
    deadline = Deadline.after(SystemClock(), 60)
    while True:
        try:
            assignment = log.open(Open((topic,)))
            log.seek(Seek({partition: position.offset for partition, position in assignment.items()}))
            return assignment
        except (Transient, Rewound):
            assert not deadline.passed()


def read(log: KafkaLog, topic: str, count: int) -> Sequence[Record]:
    """``count`` records, by a service that starts over whenever it is told to."""
    deadline = Deadline.after(SystemClock(), 60)
    records: list[Record] = []
    while len(records) < count:
        assert not deadline.passed(), f"{len(records)} of {count} records were read"
        try:
            records += log.read(Read(100)).records
        except Rewound:
            records.clear()
            opened(log, topic)
    return records


def commit(log: KafkaLog, records: Sequence[Record], note: str) -> None:
    positions = {p: position._replace(note=note) for p, position in Batch(records, frozenset(), 0).positions().items()}
    log.commit(Commit(Outcome("reader", 0), positions))


def values(records: Sequence[Record]) -> list[str]:
    return [record.value.decode() for record in records]


def test_a_reader_goes_on_with_the_new_topic(topic: RestartedTopic, reader: Callable[[], KafkaLog]) -> None:
    log = reader()
    opened(log, topic.name)
    topic.write("1", "2", "3")
    commit(log, read(log, topic.name, 3), "a note")
    topic.make_again()
    topic.write("new")
    assert values(read(log, topic.name, 1)) == ["new"]


def test_a_position_of_the_former_topic_is_not_taken_for_one_of_the_new(topic: RestartedTopic, reader: Callable[[], KafkaLog]) -> None:
    log = reader()
    (position,) = opened(log, topic.name).values()
    topic.write("1", "2")
    records = read(log, topic.name, 2)
    topic.make_again()  # Kafka forgets what was committed before; it takes what is committed now
    topic.write("one", "two", "three")
    commit(log, records, "a note")
    log = reader()
    (again,) = opened(log, topic.name).values()
    assert again[:2] == (0, "")
    assert again.topic_id != position.topic_id
    assert values(read(log, topic.name, 3)) == ["one", "two", "three"]


def test_nor_is_one_that_the_store_keeps(postgres_server: StandaloneServer) -> None:
    partition = Partition("stream-frame", 0)
    with PostgresStore(postgres_server.settings.postgres_address, f"store-{uuid4().hex[:8]}") as store:
        assert store.positions(Positions({partition: "one"})) == {partition: 0}
        store.save(Save({}, 7, {partition: 0}, {partition: 7}))
        assert store.positions(Positions({partition: "one"})) == {partition: 7}
        assert store.positions(Positions({partition: "other"})) == {partition: 0}
        store.save(Save({}, 3, {partition: 0}, {partition: 3}))
        with pytest.raises(Rewound):
            store.save(Save({}, 3, {partition: 0}, {partition: 3}))
        assert store.positions(Positions({partition: "other"})) == {partition: 3}
