"""The broker port on a real MQTT broker: what was not acknowledged comes again, and what was does not."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.mqtt import KEEPALIVE_S, MqttClient
from stack.artemis import MAX_PACKET
from streaming.adapters.mqtt import MqttBroker
from streaming.runtime.effects import Acknowledge, Outgoing, Publish, Published, Receive, Received

pytestmark = pytest.mark.stack
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def topic() -> str:
    return f"iot/{uuid4().hex[:8]}/frames"


def outgoing(topic: str, payload: bytes, traceparent: str, seconds: int) -> Outgoing:
    """A message that is worth sending for so many seconds from now on."""
    now_ms = SystemClock().now_ms()
    return Outgoing(topic, payload, traceparent, now_ms, now_ms + seconds * 1000)


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


def publish(broker: MqttBroker, effect: Publish, seconds: float = 30) -> Published:
    deadline = Deadline.after(SystemClock(), seconds)
    while True:
        try:
            return broker.publish(effect)
        except Transient:
            assert not deadline.passed()


def test_what_is_published_arrives_with_its_trace(mqtt_server, topic: str) -> None:
    with MqttBroker(mqtt_server.settings.mqtt_address, f"r-{topic}", (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(mqtt_server.settings.mqtt_address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([outgoing(topic, b"1", TRACEPARENT, 60), outgoing(topic, b"2", "hostile", 60)]))
        messages = received(reader, 2)
        assert sorted((m.payload, m.traceparent) for m in messages) == [(b"1", TRACEPARENT), (b"2", "")]


def test_a_restart_gets_again_what_was_not_acknowledged(mqtt_server, topic: str) -> None:
    """An ack that is under way when the connection ends may be lost (MQTT 5, section 4.4): then its message comes again too."""
    address, name = mqtt_server.settings.mqtt_address, f"r-{topic}"
    with MqttBroker(address, name, (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([outgoing(topic, str(n).encode(), TRACEPARENT, 600) for n in range(6)]))
        assert len(received(reader, 6)) == 6
    with MqttBroker(address, name, (topic,)) as reader:
        assert sorted(m.payload for m in received(reader, 6)) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_what_was_acknowledged_is_gone(mqtt_server, topic: str) -> None:
    address, name = mqtt_server.settings.mqtt_address, f"r-{topic}"
    with MqttBroker(address, name, (topic,)) as reader:
        received(reader, 0)
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([outgoing(topic, str(n).encode(), TRACEPARENT, 600) for n in range(6)]))
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
            publish(writer, Publish([outgoing(topic, b"x", TRACEPARENT, 600)]))
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
        large.publish(topic, b"x" * (MAX_PACKET + 1))
        deadline = Deadline.after(SystemClock(), 30)
        while large.away is None:
            assert not deadline.passed(), "the broker kept the connection"
            large.drain(0.05)
        assert large.unconfirmed == 1
        large.stop(Deadline.after(SystemClock(), 1))
        with MqttBroker(address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([outgoing(topic, b"x" * (MAX_PACKET - 1000), TRACEPARENT, 60)]))
        assert [len(message.payload) for message in received(reader, 1)] == [MAX_PACKET - 1000]


def test_what_the_broker_does_not_take_in_its_time_is_never_sent(mqtt_server, topic: str) -> None:
    """Messages are handed over, and the broker dies before it confirms one: the short one is over when it is back, of the long one less is
    left, and one that is over from the start is no reason to wait for anybody."""
    clock, came = SystemClock(), []
    reader = Client(CallbackAPIVersion.VERSION2, f"r-{topic}", protocol=MQTTv5)
    subscribed: list[object] = []
    reader.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    reader.on_subscribe = lambda _client, _data, _mid, reasons, _properties: subscribed.extend(reasons)
    reader.on_message = lambda _client, _data, message: came.append((message.payload, message.properties.MessageExpiryInterval))
    keep = Properties(PacketTypes.CONNECT)
    keep.SessionExpiryInterval = 600
    address = urlsplit(mqtt_server.settings.mqtt_address)
    reader.connect(address.hostname, address.port, clean_start=False, properties=keep)
    reader.loop_start()
    try:
        until(lambda: bool(subscribed))
        with MqttBroker(mqtt_server.settings.mqtt_address, f"w-{topic}", ()) as writer:
            publish(writer, Publish([outgoing(topic, b"first", TRACEPARENT, 600)]))
            until(lambda: [payload for payload, _ in came] == [b"first"])
            mqtt_server.kill()
            until(lambda: bool(writer.probe()))
            over = outgoing(topic, b"over", TRACEPARENT, 0)
            assert publish(writer, Publish([over])).taken == []
            short, long = outgoing(topic, b"short", TRACEPARENT, 3), outgoing(topic, b"long", TRACEPARENT, 300)
            effect = Publish([short, long])
            with pytest.raises(Transient):
                writer.publish(effect)
            until(lambda: not short.left_s(clock.now_ms()))
            mqtt_server.start()
            assert publish(writer, effect, 60).taken == [long]
            publish(writer, Publish([outgoing(topic, b"last", TRACEPARENT, 600)]))
            until(lambda: b"last" in [payload for payload, _ in came])
    finally:
        reader.disconnect()
        reader.loop_stop()
    assert [payload for payload, _ in came] == [b"first", b"long", b"last"]
    assert came[1][1] < 298, "what was left when it was sent, not when it was handed over"


def until(done: Callable[[], bool]) -> None:
    deadline = Deadline.after(SystemClock(), 60)
    while not done():
        assert not deadline.passed()
        time.sleep(0.05)


def test_a_broker_that_hangs_is_said_to_be_away_long_before_keep_alive_ends(mqtt_server, topic: str) -> None:
    """Its connections stay open; when it goes on, so does the subscriber, on the same connection."""
    address, clock = mqtt_server.settings.mqtt_address, SystemClock()
    broker = psutil.Process(mqtt_server.pid)
    with MqttBroker(address, f"r-{topic}", (topic,)) as reader, MqttBroker(address, f"w-{topic}", ()) as writer:
        received(reader, 0)
        publish(writer, Publish([outgoing(topic, b"before", TRACEPARENT, 600)]))
        (before,) = acknowledged(reader, 1)
        broker.suspend()
        try:
            hung = clock.monotonic()
            reason = why_away(reader)
            took_s = clock.monotonic() - hung
        finally:
            broker.resume()
        publish(writer, Publish([outgoing(topic, b"after", TRACEPARENT, 600)]))
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
