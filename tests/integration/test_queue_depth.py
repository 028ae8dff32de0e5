"""What waits in the bridge's subscriptions, as the real broker tells; and that its agent tells nothing else."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.mqttaddress import PLATFORM_USER, BrokerAddress
from mliot.settings import HOST
from stack.standalone import StandaloneServer
from streaming.adapters.mqtt import MqttBroker
from streaming.adapters.queuedepth import HEADERS, QueueDepth, queue_bean
from streaming.runtime.effects import Acknowledge, Outgoing, Publish, Receive

pytestmark = pytest.mark.stack
COUNT = 25


@pytest.fixture
def name() -> str:
    return uuid4().hex[:8]


@contextlib.contextmanager
def asked(server: StandaloneServer, client: str, *filters: str) -> Iterator[Callable[[], int | None]]:
    reserved = BrokerAddress.of(server.settings.mqtt_address).reserved(client)
    with QueueDepth(server.settings.mqtt_metrics_address, reserved, filters) as messages:
        yield messages


def until(call: Callable[[], object], wanted: object, seconds: float = 30) -> None:
    deadline = Deadline.after(SystemClock(), seconds)
    while (told := call()) != wanted:
        assert not deadline.passed(), f"{told} instead of {wanted}"


def published(server: StandaloneServer, topic: str, count: int) -> None:
    with MqttBroker(server.settings.mqtt_address, f"w-{uuid4().hex[:8]}", ()) as writer:
        now_ms = SystemClock().now_ms()
        effect = Publish([Outgoing(topic, str(n).encode(), "", now_ms, now_ms + 600_000) for n in range(count)])
        deadline = Deadline.after(SystemClock(), 30)
        while True:
            try:
                writer.publish(effect)
                return
            except Transient:
                assert not deadline.passed()


def subscribed(server: StandaloneServer, client: str, *filters: str) -> MqttBroker:
    """Its session stays with the broker when it leaves."""
    broker = MqttBroker(server.settings.mqtt_address, client, filters)
    with broker:
        broker._client.wait_ready(30)
    return MqttBroker(server.settings.mqtt_address, client, filters)


@pytest.mark.parametrize("share", ["", "$share/bridges/"], ids=["its own", "shared"])
def test_what_waits_while_the_bridge_is_away_is_told_and_gone_once_it_is_acknowledged(
    mqtt_server: StandaloneServer, name: str, share: str
) -> None:
    client, filters = f"mliot-bridge-{name}", (f"{share}{name}/frames", f"{share}{name}/+/acks")
    broker = subscribed(mqtt_server, client, *filters)
    with asked(mqtt_server, client, *filters) as messages:
        until(messages, 0)
        published(mqtt_server, f"{name}/frames", COUNT)
        published(mqtt_server, f"{name}/a/acks", 1)
        until(messages, COUNT + 1)
        with broker:
            taken: list[tuple[int, int]] = []
            deadline = Deadline.after(SystemClock(), 30)
            while len(taken) < COUNT + 1:
                assert not deadline.passed()
                taken += received(broker)
            until(messages, COUNT + 1)  # received is not acknowledged
            broker.acknowledge(Acknowledge(taken))

            def rest() -> int | None:
                """Artemis sends a shared subscription's messages again, under new numbers, where its subscriber resumes it."""
                broker.acknowledge(Acknowledge(received(broker)))
                return messages()

            until(rest, 0)


def received(broker: MqttBroker) -> list[tuple[int, int]]:
    with contextlib.suppress(Transient):
        return [message.ticket for message in broker.receive(Receive(100, wait_ms=300))]
    return []


def test_while_the_broker_is_away_and_before_there_is_a_subscription_it_is_not_known(mqtt_server: StandaloneServer, name: str) -> None:
    client, topic = f"mliot-bridge-{name}", f"{name}/frames"
    with asked(mqtt_server, client, topic) as messages:
        assert messages() is None
        subscribed(mqtt_server, client, topic)
        until(messages, 0)
        mqtt_server.kill()
        try:
            until(messages, None)
        finally:
            mqtt_server.start()
        until(messages, 0, 60)


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "exec", "mbean": 'org.apache.activemq.artemis:broker="mliot"', "operation": "forceFailover()"},
        {"type": "read", "mbean": 'org.apache.activemq.artemis:broker="mliot"', "attribute": "Version"},
        {"type": "read", "mbean": "java.lang:type=Runtime", "attribute": "SystemProperties"},
        {"type": "write", "mbean": 'org.apache.activemq.artemis:broker="mliot"', "attribute": "MessageCount", "value": 0},
        {"type": "list"},
        {"type": "search", "mbean": "*:*"},
    ],
    ids=lambda request: request["type"],
)
def test_the_agent_tells_nothing_else_and_does_nothing(mqtt_server: StandaloneServer, request_: dict[str, Any]) -> None:
    answer = asked_for(mqtt_server, request_, HEADERS)
    assert answer["status"] == 403, answer


def test_a_page_of_elsewhere_is_told_nothing(mqtt_server: StandaloneServer) -> None:
    body = {"type": "read", "mbean": queue_bean("nobody", "x"), "attribute": "MessageCount"}
    assert asked_for(mqtt_server, body, HEADERS)["status"] == 404
    assert asked_for(mqtt_server, body, {"Origin": "http://evil.example"})["status"] == 403
    assert asked_for(mqtt_server, body, {})["status"] == 403


@pytest.mark.parametrize("who", [None, (PLATFORM_USER, "guessed"), ("jolokia", "jolokia")])
def test_who_does_not_know_the_password_learns_no_queues_name(
    mqtt_server: StandaloneServer, name: str, who: tuple[str, str] | None
) -> None:
    """A queue's name holds the secret part of a client id, with which the session could be ended."""
    subscribed(mqtt_server, f"mliot-bridge-{name}", f"{name}/frames")
    body = {"type": "read", "mbean": f'org.apache.activemq.artemis:broker="mliot",address="{name}/frames",*', "attribute": "MessageCount"}
    address = f"http://{HOST}:{mqtt_server.settings.mqtt_metrics_port}/jolokia/"
    answer = httpx.post(address, json=body, headers=HEADERS, auth=who, trust_env=False)
    assert answer.status_code == 401
    assert name not in answer.text


def asked_for(server: StandaloneServer, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(
        f"{server.settings.mqtt_metrics_address}/jolokia/", json=body, headers=headers, trust_env=False
    ).json()
    return answer
