"""The MQTT side: sessions that the broker keeps, messages put into them, and a client that does no more than it must."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.frames import recent, stream
from mliot.clock import Deadline, SystemClock
from mliot.mqtt import MqttClient, authenticate
from mliot.mqttaddress import BrokerAddress
from streaming.adapters.mqtt import RECEIVE_MAXIMUM, SESSION_EXPIRY_S

PATIENCE_S = 120
WINDOW = 1_000
"""Messages on their way to the broker at once."""


@contextmanager
def session(address: str, client_id: str, filters: Sequence[str]) -> Iterator[None]:
    """A session with these subscriptions that the broker keeps, also while nobody is connected, until the end of the block."""
    _connect_once(address, client_id, filters, expiry_s=SESSION_EXPIRY_S)
    try:
        yield
    finally:
        _connect_once(address, client_id, (), expiry_s=0)


def publish(address: str, messages: int) -> None:
    """So many frames of all sensors, the last of them now; returns once the broker has acknowledged each."""
    client = MqttClient(address, "publisher", window=WINDOW)
    client.start()
    try:
        for frame in islice(stream(recent(messages)), messages):
            client.publish(frame.topic, frame.message, wait_s=PATIENCE_S)
        if left := client.drain(PATIENCE_S):
            raise TimeoutError(f"{left} messages are not acknowledged")
    finally:
        client.stop(Deadline.after(SystemClock(), PATIENCE_S))


@contextmanager
def bare_client(address: str, client_id: str, on_message: Callable[[], None]) -> Iterator[None]:
    """A paho client that takes its session up, receives, and acknowledges as paho does by itself; it connects in the background."""
    broker = BrokerAddress.of(address)
    client = Client(CallbackAPIVersion.VERSION2, broker.reserved(client_id), protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = lambda *_: on_message()
    authenticate(client, broker)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval, properties.ReceiveMaximum = SESSION_EXPIRY_S, RECEIVE_MAXIMUM
    client.connect_async(broker.host, broker.port, clean_start=False, properties=properties)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def _connect_once(address: str, client_id: str, filters: Sequence[str], *, expiry_s: int) -> None:
    client = MqttClient(address, client_id, clean_start=True, session_expiry_s=expiry_s)
    client.start(filters)
    try:
        client.wait_ready(PATIENCE_S)
    finally:
        client.stop(Deadline.after(SystemClock(), PATIENCE_S))
