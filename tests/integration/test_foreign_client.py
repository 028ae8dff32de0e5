"""A client of anyone's at the local broker: it may send frames, but it cannot have what the platform has not fetched yet."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.mqtt import MqttClient
from mliot.mqttaddress import PLATFORM_USER, BrokerAddress
from mliot.mqttsession import KnownSession
from mliot.settings import HOST, Settings
from stack import health
from stack.standalone import StandaloneServer
from streaming.adapters.mqtt import MqttBroker
from streaming.runtime.effects import Acknowledge, Receive, Received

pytestmark = pytest.mark.stack
FRAMES = 50
ANSWER_S = 20


class Foreign:
    """A client that is no part of the platform, without a password unless it is given one."""

    def __init__(self, port: int, client_id: str, *, clean: bool = True, who: tuple[str, str] | None = None) -> None:
        self.said: list[ReasonCode] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
        if who:
            self._client.username_pw_set(*who)
        self._client.on_connect = lambda _c, _d, _flags, reason, _p: self.said.append(reason)
        self._client.on_subscribe = lambda _c, _d, _mid, reasons, _p: self.said.extend(reasons)
        self._client.on_publish = lambda _c, _d, _mid, reason, _p: self.said.append(reason)
        self.got: list[bytes] = []
        self._client.on_message = lambda _c, _d, message: self.got.append(message.payload)
        self._client.connect(HOST, port, clean_start=clean)
        self._until(1)

    def subscribe(self, topic: str) -> None:
        self._client.subscribe([(topic, SubscribeOptions(qos=1))])
        self._until(len(self.said) + 1)

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)
        self._until(len(self.said) + 1)

    def end(self) -> None:
        self._client.disconnect()
        self._client.loop(0.1)

    def _until(self, answers: int) -> None:
        deadline = Deadline.after(SystemClock(), ANSWER_S)
        while len(self.said) < answers and self._client.loop(0.1) == paho.MQTT_ERR_SUCCESS:
            assert not deadline.passed(), "the broker does not answer"


@contextmanager
def foreign(settings: Settings, client_id: str = "", *, clean: bool = True, who: tuple[str, str] | None = None) -> Iterator[Foreign]:
    client = Foreign(settings.mqtt_port, client_id or f"device-{uuid4().hex[:8]}", clean=clean, who=who)
    try:
        yield client
    finally:
        client.end()


class Waiting:
    """Frames that devices have sent and the bridge, whose session the broker keeps, has not fetched yet."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = f"mliot-bridge-{uuid4().hex[:8]}"
        self.topic = f"iot/{uuid4().hex[:8]}/frames"
        self._fetch(0)
        with foreign(settings) as device:
            for number in range(FRAMES):
                device.publish(self.topic, b"%d" % number)
            assert not any(reason.is_failure for reason in device.said)

    def fetched(self) -> list[int]:
        return sorted(int(message.payload) for message in self._fetch(FRAMES))

    def _fetch(self, count: int) -> list[Received]:
        """Receives until ``count`` messages came, and says that they are done with."""
        messages: list[Received] = []
        with MqttBroker(self.settings.mqtt_address, self.name, (self.topic,)) as bridge:
            deadline = Deadline.after(SystemClock(), 20)
            connected = False
            while not deadline.passed() and not (connected and len(messages) >= count):
                try:
                    got = bridge.receive(Receive(FRAMES, wait_ms=300))
                except Transient:
                    continue
                connected = True
                messages += got
                if got:
                    bridge.acknowledge(Acknowledge([message.ticket for message in got]))
        return messages


@pytest.fixture
def waiting(mqtt_server: StandaloneServer) -> Waiting:
    return Waiting(mqtt_server.settings)


@pytest.mark.parametrize("clean", [True, False])
def test_who_names_the_bridges_client_id_cannot_take_what_waits_for_it(waiting: Waiting, clean: bool) -> None:
    with foreign(waiting.settings, waiting.name, clean=clean) as thief:
        pass
    assert waiting.fetched() == list(range(FRAMES))
    assert [reason.getName() for reason in thief.said] == ["Use another server"]


def test_what_the_bridges_id_ends_in_cannot_be_guessed(waiting: Waiting) -> None:
    with foreign(waiting.settings, f"{waiting.name}-{'0' * 32}") as thief:
        pass
    assert waiting.fetched() == list(range(FRAMES))
    assert thief.said[0].is_failure


def test_the_bridges_queue_cannot_be_named_in_a_subscription(waiting: Waiting) -> None:
    """``address::queue`` is how Artemis names a queue."""
    with foreign(waiting.settings) as thief:
        thief.subscribe(f"{waiting.topic}::{waiting.name}.{waiting.topic}")
    assert waiting.fetched() == list(range(FRAMES))
    assert thief.got == []


def test_the_brokers_own_addresses_are_closed(waiting: Waiting) -> None:
    with foreign(waiting.settings) as thief:
        for address in ("$sys.mqtt.sessions", "activemq.notifications", "mliot-dead-letters"):
            thief.subscribe(address)
        thief.publish("activemq.management", b"{}")
    assert waiting.fetched() == list(range(FRAMES))
    assert [reason.is_failure for reason in thief.said] == [False, True, True, True, True]
    assert thief.got == []


def test_a_device_needs_no_password_but_only_the_platform_sends_commands(mqtt_server: StandaloneServer) -> None:
    settings, topic = mqtt_server.settings, f"iot/fan-{uuid4().hex[:8]}/command"
    with foreign(settings) as device:
        device.subscribe(topic)
        device.publish(topic, b"forged")
        assert [reason.is_failure for reason in device.said] == [False, False, True]
        commands = MqttClient(settings.mqtt_address, "mliot-commands-test")
        commands.start()
        commands.wait_ready(ANSWER_S)
        commands.publish(topic, b"decided")
        assert commands.stop(Deadline.after(SystemClock(), ANSWER_S)) == 0
        device.publish(f"iot/{uuid4().hex[:8]}/frames", b"{}")
        assert not device.said[-1].is_failure
        assert device.got == [b"decided"]


@pytest.mark.parametrize("who", [(PLATFORM_USER, "guessed"), ("ACTIVEMQ.CLUSTER.ADMIN.USER", "CHANGE ME!!"), ("mliot-cluster", "mliot")])
def test_a_wrong_password_is_refused_and_the_brokers_own_users_have_none_that_is_known(
    mqtt_server: StandaloneServer, who: tuple[str, str]
) -> None:
    with foreign(mqtt_server.settings, who=who) as thief:
        assert [reason.getName() for reason in thief.said] in (["Bad user name or password"], [])  # the second: hung up without an answer


def test_frames_that_wait_outlive_a_broker_whose_sessions_were_forgotten(waiting: Waiting, mqtt_server: StandaloneServer) -> None:
    """The one thing that an open door still allows: to name the queue of the sessions, which Artemis then throws away. What waits in the
    queues stays, and that the session is gone is told."""
    settings = waiting.settings
    session = KnownSession(settings.sessions_path, waiting.name, BrokerAddress.of(settings.mqtt_address).shown, SystemClock())
    session.subscribed()
    with foreign(settings) as thief:
        thief.subscribe("$sys.mqtt.sessions::$sys.mqtt.sessions")
        assert thief.said[-1].is_failure
    mqtt_server.stop()
    mqtt_server.start()
    with MqttBroker(settings.mqtt_address, waiting.name, (waiting.topic,), session=session) as bridge:
        deadline = Deadline.after(SystemClock(), ANSWER_S)
        got: list[Received] = []
        while len(got) < FRAMES and not deadline.passed():
            with suppress(Transient):  # not connected yet
                got += bridge.receive(Receive(FRAMES, wait_ms=300))
    assert session.notice() is not None
    assert sorted(int(message.payload) for message in got) == list(range(FRAMES))


def test_a_lost_session_is_told(mqtt_server: StandaloneServer, tmp_path: Path) -> None:
    settings, name, topic = mqtt_server.settings, f"mliot-bridge-{uuid4().hex[:8]}", f"iot/{uuid4().hex[:8]}/frames"
    address = settings.mqtt_address

    def start() -> KnownSession:
        session = KnownSession(tmp_path, name, BrokerAddress.of(address).shown, SystemClock())
        with MqttBroker(address, name, (topic,), session=session) as bridge:
            deadline = Deadline.after(SystemClock(), ANSWER_S)
            while not deadline.passed():
                with suppress(Transient):
                    bridge.receive(Receive(1, wait_ms=100))
                    if (tmp_path / f"{name}.json").exists():
                        return session
        raise AssertionError("the bridge does not connect")

    assert start().notice() is None
    assert start().notice() is None
    ender = MqttClient(address, name)  # a clean start, by one who knows the password
    ender.start()
    ender.wait_ready(ANSWER_S)
    ender.stop(Deadline.after(SystemClock(), ANSWER_S))
    told = start().notice()
    assert told is not None
    assert name in told[0]


def test_a_password_with_reserved_characters_opens_the_door(open_folder: Path, free_ports) -> None:
    settings = Settings(_env_file=None, home=open_folder, mqtt_port=free_ports(1)[0], mqtt_password="p@ss:w/rd%ü")
    with StandaloneServer(settings, "artemis"):
        assert health.mqtt(settings).state == "ok"
        assert "p%40ss" in settings.mqtt_address
        own_broker = settings.model_copy(update={"mqtt_url": settings.mqtt_address, "home": open_folder / "other"})
        assert health.mqtt(own_broker).state == "ok"
        client = MqttClient(own_broker.mqtt_address, "mliot-test")
        client.start(["#"])
        client.wait_ready(ANSWER_S)
        client.stop(Deadline.after(SystemClock(), ANSWER_S))
