"""A client of Kafka that no longer takes part in its group, though Kafka answers it, is replaced by another one."""

from uuid import uuid4

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import Transient
from stack.standalone import StandaloneServer
from streaming.kafka.client import KafkaSettings
from streaming.kafka.log import ASSIGNED_S, KafkaLog
from streaming.runtime.effects import Open
from tests.integration.test_hung_process import opened

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


def made(monkeypatch: pytest.MonkeyPatch, first: type[Consumer] = Consumer) -> list[Consumer]:
    """The clients that are made from now on, in that order, the first of them of another kind."""
    clients: list[Consumer] = []

    def make(config: dict[str, object]) -> Consumer:
        clients.append(Consumer(config) if clients else first(config))
        return clients[-1]

    monkeypatch.setattr("streaming.kafka.log.Consumer", make)
    return clients


def test_a_client_that_is_told_nothing_is_thrown_away(kafka_server: StandaloneServer, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, clock = made(monkeypatch, Deaf), ManualClock()
    with KafkaLog(KafkaSettings(kafka_server.settings.kafka_address, topic), clock, reads_only=True) as log:
        for _ in range(2):
            with pytest.raises(Transient, match="no partitions are assigned yet"):
                log.open(Open((topic,)))
        assert len(clients) == 1, "it is waited for"
        clock.advance(round(ASSIGNED_S * 1000))
        assert len(opened(log, topic, Deadline.after(SystemClock(), 60))) == 2
    assert len(clients) == 2


def test_a_member_that_is_given_no_partitions_stays(kafka_server: StandaloneServer, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, clock = made(monkeypatch), ManualClock()
    with KafkaLog(KafkaSettings(kafka_server.settings.kafka_address, topic), clock, reads_only=True) as log:
        assert len(opened(log, topic, Deadline.after(SystemClock(), 60))) == 2
        log._on_revoke(clients[0], [])
        log._on_assign(clients[0], [])  # others have them all
        for _ in range(3):
            clock.advance(round(ASSIGNED_S * 1000))
            with pytest.raises(Transient, match="no partitions are assigned yet"):
                log.open(Open((topic,)))
    assert len(clients) == 1
