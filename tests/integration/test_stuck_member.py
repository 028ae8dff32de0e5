"""A client of Kafka that no longer takes part in its group, though Kafka answers it, is replaced by another one."""

from uuid import uuid4

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import Transient
from mliot.stack.standalone import StandaloneServer
from streaming.kafka import ASSIGNED_S, KafkaLog
from streaming.kafkaclient import KafkaSettings
from streaming.ports import Assignment, Open

pytestmark = pytest.mark.stack


class Deaf(Consumer):
    """Connected, and never a member."""

    def subscribe(self, *_: object, **__: object) -> None:
        pass


@pytest.fixture
def topic(kafka_server: StandaloneServer) -> str:
    name = f"stuck-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_server.settings.kafka_address})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Consumer]:
    """The clients that were made, the first of them deaf."""
    clients: list[Consumer] = []

    def make(config: dict[str, object]) -> Consumer:
        clients.append(Consumer(config) if clients else Deaf(config))
        return clients[-1]

    monkeypatch.setattr("streaming.kafka.Consumer", make)
    return clients


def test_a_client_that_is_told_nothing_is_thrown_away(kafka_server: StandaloneServer, topic: str, made: list[Consumer]) -> None:
    clock = ManualClock()
    with KafkaLog(KafkaSettings(kafka_server.settings.kafka_address, topic), clock, reads_only=True) as log:
        for _ in range(2):
            with pytest.raises(Transient, match="no partitions are assigned yet"):
                log.open(Open((topic,)))
        assert len(made) == 1, "it is waited for"
        clock.advance(round(ASSIGNED_S * 1000))
        assert len(opened(log, topic)) == 2
    assert len(made) == 2


def test_a_member_that_is_given_no_partitions_stays(kafka_server: StandaloneServer, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Consumer] = []

    def make(config: dict[str, object]) -> Consumer:
        made.append(Consumer(config))
        return made[-1]

    monkeypatch.setattr("streaming.kafka.Consumer", make)
    clock = ManualClock()
    with KafkaLog(KafkaSettings(kafka_server.settings.kafka_address, topic), clock, reads_only=True) as log:
        assert len(opened(log, topic)) == 2
        log._on_revoke(made[0], [])
        log._on_assign(made[0], [])  # others have them all
        for _ in range(3):
            clock.advance(round(ASSIGNED_S * 1000))
            with pytest.raises(Transient, match="no partitions are assigned yet"):
                log.open(Open((topic,)))
    assert len(made) == 1


def opened(log: KafkaLog, topic: str) -> Assignment:
    deadline = Deadline.after(SystemClock(), 60)
    while not deadline.passed():
        try:
            return log.open(Open((topic,)))
        except Transient:
            continue
    raise AssertionError("no partitions were assigned within 60 s")
