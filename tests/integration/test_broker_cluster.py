"""Two MQTT brokers as a cluster, a bridge on each, one shared subscription: what either broker acknowledged is in Kafka."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from mliot.messages import Frame, readable
from mliot.services import metrics_port
from mliot.settings import HOST, Settings
from stack.standalone import StandaloneServer
from tests.e2e import stack
from tests.e2e.publisher import Publisher

pytestmark = pytest.mark.stack
FRAMES_PER_S = 300
FEW = 300
FreePorts = Callable[[int], list[int]]
until = partial(stack.until, within_s=60)


@pytest.fixture
def members(kafka_server: StandaloneServer, open_folder: Path, free_ports: FreePorts) -> tuple[Settings, Settings]:
    """Settings of two homes, each with a broker of the cluster and a bridge of the same shared subscription."""
    mqtt, mqtt_metrics, cluster, metrics = free_ports(2), free_ports(2), free_ports(2), free_ports(2)

    def member(number: int) -> Settings:
        changes: dict[str, Any] = {
            "home": open_folder / f"member-{number}",
            "kafka_port": kafka_server.settings.kafka_port,
            "mqtt_port": mqtt[number],
            "mqtt_metrics_port": mqtt_metrics[number],
            "mqtt_cluster_port": cluster[number],
            "mqtt_cluster": f"{HOST}:{cluster[1 - number]}",
            "mqtt_share": "bridges",
            "mqtt_password": "one for both",
            "instance": str(number),
            "metrics_port": metrics[number],
        }
        return Settings(_env_file=None, **changes)

    return member(0), member(1)


class Kafka:
    """The ids of the frames in Kafka, as far as it was read."""

    def __init__(self, settings: Settings) -> None:
        config = {"bootstrap.servers": settings.kafka_address, "group.id": "cluster-test", "enable.auto.commit": False}
        self._consumer = Consumer({**config, "isolation.level": "read_committed"})
        self._consumer.assign([TopicPartition(Frame.topic_name, number, OFFSET_BEGINNING) for number in range(settings.partitions)])
        self._ids: set[str] = set()

    def __enter__(self) -> "Kafka":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def holds(self, owed: set[str]) -> bool:
        messages = self._consumer.consume(5000, 0.2)
        assert not any(message.error() for message in messages)
        frames = readable(Frame, (message.value() or b"" for message in messages))  # other tests write what is none
        self._ids |= {frame.frame_id for frame in frames}
        return owed <= self._ids


def read_by(settings: Settings) -> int:
    """How many messages the bridge has taken in."""
    answer = httpx.get(f"http://{HOST}:{metrics_port(settings, 'bridge')}/health", trust_env=False).raise_for_status()
    return int(answer.json()["counts"].get("read", 0))


@pytest.fixture
def started() -> Iterator[Callable[[Settings, str], StandaloneServer]]:
    with ExitStack() as servers:
        yield lambda settings, name: servers.enter_context(StandaloneServer(settings, name))


def test_what_either_broker_acknowledged_is_in_kafka_whoever_is_killed(
    members: tuple[Settings, Settings], started: Callable[[Settings, str], StandaloneServer]
) -> None:
    brokers = [started(member, "artemis") for member in members]
    bridges = [started(member, "bridge") for member in members]
    first, second = members
    with Kafka(first) as kafka, Publisher(first, FRAMES_PER_S, name="at-first", patience_s=120) as at_first:
        until("the second broker's bridge has its share of what comes to the first", lambda: read_by(second) >= FEW)
        with Publisher(second, FRAMES_PER_S, name="at-second", patience_s=120) as at_second:
            bridges[1].kill()
            before = len(at_second.owed)
            until("the second broker takes frames without a bridge of its own", lambda: len(at_second.owed) >= before + FEW)
            alone = set(at_second.owed)
            until("the first broker's bridge reads what the second broker acknowledged", lambda: kafka.holds(alone))
            brokers[0].kill()
            before = len(at_second.owed)
            until("the second broker goes on", lambda: len(at_second.owed) >= before + FEW)
            brokers[0].start()
            bridges[1].start()
            before = len(at_first.owed)
            until("the first broker is back", lambda: len(at_first.owed) >= before + FEW)
    owed = at_first.owed | at_second.owed
    with Kafka(first) as kafka:
        until(f"all {len(owed)} frames are in Kafka", lambda: kafka.holds(owed))
