"""The broker port on a real MQTT broker: what was not acknowledged comes again, and what was does not."""

from uuid import uuid4

import psutil
import pytest

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.mqtt import KEEPALIVE_S, MqttClient
from mliot.stack.artemis import LARGEST_PACKET
from streaming.mqtt import MqttBroker
from streaming.ports import Acknowledge, Outgoing, Publish, Receive, Received

pytestmark = pytest.mark.stack
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def topic() -> str:
    return f"iot/{uuid4().hex[:8]}/frames"


def received(broker: MqttBroker, count: int, seconds: float = 30) -> list[Received]:
    """Receives until ``count`` messages came, acknowledging none, and looks once more that no other follows."""
    messages: list[Received] = []
    deadline = Deadline.after(SystemClock(), seconds)
    while len(messages) < count and not deadline.passed():
        messages += receive(broker)
    return messages + receive(broker)


def receive(broker: MqttBroker) -> list[Received]:
    try:
        return broker.receive(Receive(100, wait_ms=300))
    except Transient:
        return []


def publish(broker: MqttBroker, effect: Publish) -> None:
    deadline = Deadline.after(SystemClock(), 30)
    while True:
        try:
            return broker.publish(effect)
        except Transient:
            assert not deadline.passed()


def test_what_is_published_arrives_with_its_trace(mqtt_server, topic: str) -> None:
    with MqttBroker(mqtt_server.settings.mqtt_address, f"r-{topic}", (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(mqtt_server.settings.mqtt_address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([Outgoing(topic, b"1", TRACEPARENT, 60), Outgoing(topic, b"2", "hostile", 60)]))
        messages = received(reader, 2)
        assert sorted((m.payload, m.traceparent) for m in messages) == [(b"1", TRACEPARENT), (b"2", "")]


def test_a_restart_gets_again_what_was_not_acknowledged(mqtt_server, topic: str) -> None:
    """An ack that is under way when the connection ends may be lost (MQTT 5, section 4.4): then its message comes again too."""
    address, name = mqtt_server.settings.mqtt_address, f"r-{topic}"
    with MqttBroker(address, name, (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([Outgoing(topic, str(n).encode(), TRACEPARENT, 600) for n in range(6)]))
        assert len(received(reader, 6)) == 6
    with MqttBroker(address, name, (topic,)) as reader:
        assert sorted(m.payload for m in received(reader, 6)) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_what_was_acknowledged_is_gone(mqtt_server, topic: str) -> None:
    address, name = mqtt_server.settings.mqtt_address, f"r-{topic}"
    with MqttBroker(address, name, (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([Outgoing(topic, str(n).encode(), TRACEPARENT, 600) for n in range(6)]))
        acknowledged(reader, 6)
    deadline = Deadline.after(SystemClock(), 30)
    while True:
        with MqttBroker(address, name, (topic,)) as reader:
            if not acknowledged(reader, 1, 2):
                break
        assert not deadline.passed()


def acknowledged(broker: MqttBroker, count: int, seconds: float = 30) -> list[Received]:
    """Receives until ``count`` messages came, acknowledging each batch, as the bridge does."""
    messages: list[Received] = []
    deadline = Deadline.after(SystemClock(), seconds)
    while len(messages) < count and not deadline.passed():
        batch = receive(broker)
        broker.acknowledge(Acknowledge([message.ticket for message in batch]))
        messages += batch
    return messages


def test_a_ticket_of_an_ended_connection_acknowledges_nothing(mqtt_server, topic: str) -> None:
    address, name = mqtt_server.settings.mqtt_address, f"r-{topic}"
    with MqttBroker(address, name, (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([Outgoing(topic, b"x", TRACEPARENT, 600)]))
        (old,) = received(reader, 1)
        mqtt_server.kill()
        mqtt_server.start()
        (again,) = received(reader, 1, 60)
        assert again.payload == b"x"
        assert again.ticket != old.ticket


def test_a_message_too_large_for_a_dead_letter_is_not_taken_and_others_go_on(mqtt_server, topic: str) -> None:
    """As a foreign client would send it: its connection ends, no message is acknowledged, and the bridge's reader never sees one."""
    address = mqtt_server.settings.mqtt_address
    with MqttBroker(address, f"r-{topic}", (topic,)) as reader:
        received(reader, 0)
        large = MqttClient(address, f"l-{topic}")
        large.start()
        large.wait_ready(30)
        large.publish(topic, b"x" * (LARGEST_PACKET + 1))
        deadline = Deadline.after(SystemClock(), 30)
        while large.away is None:
            assert not deadline.passed(), "the broker kept the connection"
            large.drain(0.05)
        assert large.unconfirmed == 1
        large.stop(Deadline.after(SystemClock(), 1))
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([Outgoing(topic, b"x" * (LARGEST_PACKET - 1000), TRACEPARENT, 60)]))
        assert [len(message.payload) for message in received(reader, 1)] == [LARGEST_PACKET - 1000]


def test_a_broker_that_hangs_is_said_to_be_away_long_before_keep_alive_ends(mqtt_server, topic: str) -> None:
    """Its connections stay open; when it goes on, so does the subscriber, on the same connection."""
    address, clock = mqtt_server.settings.mqtt_address, SystemClock()
    broker = psutil.Process(mqtt_server.pid)
    with MqttBroker(address, f"r-{topic}", (topic,)) as reader, MqttBroker(address, f"w-{topic}", ()) as writer:
        received(reader, 0)
        publish(writer, Publish([Outgoing(topic, b"before", TRACEPARENT, 600)]))
        (before,) = acknowledged(reader, 1)
        broker.suspend()
        try:
            hung = clock.monotonic()
            reason = why_away(reader)
            took_s = clock.monotonic() - hung
        finally:
            broker.resume()
        publish(writer, Publish([Outgoing(topic, b"after", TRACEPARENT, 600)]))
        (after,) = received(reader, 1)
    assert "does not answer" in reason
    assert took_s < KEEPALIVE_S / 2
    assert (after.payload, after.ticket[0]) == (b"after", before.ticket[0])


def why_away(broker: MqttBroker) -> str:
    """What is said as soon as anything is said."""
    deadline = Deadline.after(SystemClock(), 2 * KEEPALIVE_S)
    while not deadline.passed():
        try:
            broker.receive(Receive(100, wait_ms=250))
        except Transient as reason:
            return str(reason)
    return "nothing"
