"""One suite for both brokers: what holds for the port on a real MQTT broker holds for the simulated one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest

from mliot.clock import Deadline, ManualClock, SystemClock
from mliot.errors import Transient
from streaming.runtime.effects import Acknowledge, Broker, Outgoing, Publish, Receive, Received
from streaming.simulated import SimulatedBroker
from tests.faults.proxy import Proxy

TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
RECEIVE_MAXIMUM = 20
WITHIN_S = 30.0


@dataclass
class World:
    """A subscriber with a session. ``offer`` is what devices publish, ``cut`` breaks the connection and returns when so many messages have
    come on a new one; ``held`` counts the messages in the subscriber's memory."""

    broker: Broker
    offer: Callable[[list[str]], None]
    cut: Callable[[int], None]
    held: Callable[[], int]


@pytest.fixture(params=["simulated", pytest.param("artemis", marks=pytest.mark.stack)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        if request.param == "simulated":
            yield simulated()
        else:
            monkeypatch.setattr("streaming.adapters.mqtt.RECEIVE_MAXIMUM", RECEIVE_MAXIMUM)
            yield real(stack, request.getfixturevalue("mqtt_server").settings.mqtt_address)


def simulated() -> World:
    broker = SimulatedBroker(ManualClock(), receive_maximum=RECEIVE_MAXIMUM)

    def offer(values: list[str]) -> None:
        for value in values:
            broker.offer("iot/a/frames", value.encode(), TRACEPARENT)

    def cut(count: int) -> None:
        broker.reconnect()
        assert broker.held == count

    return World(broker, offer, cut, lambda: broker.held)


def real(stack: ExitStack, address: str) -> World:
    from streaming.adapters.mqtt import MqttBroker

    name = uuid4().hex[:8]
    topic = f"iot/{name}/frames"
    host, _, port = address.partition("://")[2].rpartition(":")
    proxy = stack.enter_context(Proxy(int(port)))
    broker = stack.enter_context(MqttBroker(f"mqtt://{host}:{proxy.port}", f"r-{name}", (topic,)))
    devices = stack.enter_context(MqttBroker(address, f"w-{name}", ()))
    broker._client.wait_ready(WITHIN_S)

    def offer(values: list[str]) -> None:
        now_ms = SystemClock().now_ms()
        effect = Publish([Outgoing(topic, value.encode(), TRACEPARENT, now_ms, now_ms + 600_000) for value in values])
        attempt(lambda: devices.publish(effect))

    def cut(count: int) -> None:
        generation = broker._client.generation
        assert proxy.cut() == 1
        until(lambda: broker._client.generation > generation + 1, "there is no new connection")  # one to end it, one to begin it
        until(lambda: fresh() >= count, f"{count} messages do not come on the new connection")

    def fresh() -> int:
        return sum(message.generation == broker._client.generation for message, _ in list(broker._inbox))

    return World(broker, offer, cut, lambda: len(broker._inbox))


def until(done: Callable[[], bool], what: str) -> None:
    deadline = Deadline.after(SystemClock(), WITHIN_S)
    while not done():
        assert not deadline.passed(), what


def attempt(call: Callable[[], object]) -> None:
    """What the driver does: tried again while it is passing trouble."""
    deadline = Deadline.after(SystemClock(), WITHIN_S)
    while True:
        try:
            call()
        except Transient:
            assert not deadline.passed()
        else:
            return


def receive(broker: Broker, most: int = 100) -> list[Received]:
    try:
        return broker.receive(Receive(most, wait_ms=300))
    except Transient:
        return []


def received(broker: Broker, count: int) -> list[Received]:
    """Receives until ``count`` messages came, acknowledging none, and looks once more that no other follows."""
    messages: list[Received] = []
    deadline = Deadline.after(SystemClock(), WITHIN_S)
    while len(messages) < count and not deadline.passed():
        messages += receive(broker)
    return messages + receive(broker)


def acknowledged(broker: Broker, count: int) -> list[str]:
    """As :func:`received`, acknowledging each batch, as the bridge does."""
    found: list[str] = []
    deadline = Deadline.after(SystemClock(), WITHIN_S)
    while len(found) < count and not deadline.passed():
        batch = receive(broker)
        broker.acknowledge(Acknowledge([message.ticket for message in batch]))
        found += values(batch)
    return found + values(receive(broker))


def values(messages: list[Received]) -> list[str]:
    return [message.payload.decode() for message in messages]


def numbered(count: int) -> list[str]:
    return [f"{n:03}" for n in range(count)]


def test_messages_come_whole_with_their_trace(world: World) -> None:
    world.offer(numbered(3))
    messages = received(world.broker, 3)
    assert sorted(values(messages)) == numbered(3)
    assert {message.traceparent for message in messages} == {TRACEPARENT}
    assert len({message.ticket for message in messages}) == 3
    assert {message.topic.count("/") for message in messages} == {2}


def test_no_more_come_than_it_takes_unacknowledged(world: World) -> None:
    world.offer(numbered(3 * RECEIVE_MAXIMUM))
    first = received(world.broker, RECEIVE_MAXIMUM)
    assert len(first) == RECEIVE_MAXIMUM
    world.broker.acknowledge(Acknowledge([message.ticket for message in first]))
    assert sorted(values(first) + acknowledged(world.broker, 2 * RECEIVE_MAXIMUM)) == numbered(3 * RECEIVE_MAXIMUM)


def test_what_was_acknowledged_does_not_come_again(world: World) -> None:
    world.offer(numbered(5))
    assert sorted(acknowledged(world.broker, 5)) == numbered(5)
    world.offer(["new"])  # behind the acknowledgements, on the same connection
    (new,) = received(world.broker, 1)
    world.cut(1)
    (again,) = received(world.broker, 1)
    assert values([new]) == values([again]) == ["new"]
    assert again.ticket != new.ticket


def test_what_was_not_acknowledged_comes_again_once_however_often_the_connection_breaks(world: World) -> None:
    """What waits in memory when a connection ends comes again on the next: it is dropped, or each break would add a copy."""
    world.offer(numbered(3 * RECEIVE_MAXIMUM))
    until(lambda: bool(receive(world.broker, 1)), "nothing comes")
    for _ in range(5):
        world.cut(RECEIVE_MAXIMUM)
        assert world.held() <= RECEIVE_MAXIMUM
    found = acknowledged(world.broker, 3 * RECEIVE_MAXIMUM)
    assert sorted(found) == numbered(3 * RECEIVE_MAXIMUM)


def test_a_ticket_of_an_ended_connection_acknowledges_nothing(world: World) -> None:
    world.offer(["x"])
    (old,) = received(world.broker, 1)
    world.cut(1)
    world.broker.acknowledge(Acknowledge([old.ticket]))
    world.cut(1)
    assert values(received(world.broker, 1)) == ["x"]
