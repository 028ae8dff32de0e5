"""The broker port on a real MQTT 5 broker (paho): a persistent session, manual acks, back pressure by Receive Maximum."""

import re
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mliot.clock import Clock, SystemClock
from mliot.errors import Transient
from streaming.ports import Acknowledge, Publish, Receive, Received

SESSION_EXPIRY_S = 7 * 86_400
RECEIVE_MAXIMUM = 10_000
PUBLISH_WAIT_S = 2.0
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context level 1, section 3.2.2; anything else a device sends there is ignored, as section 3.2.2.1 asks."""
log = structlog.get_logger()


class MqttBroker:
    """The broker port. ``client_id`` is fixed, so that the broker keeps what comes while this process is away."""

    def __init__(self, url: str, client_id: str, subscriptions: Sequence[str], clock: Clock | None = None) -> None:
        self._where = urlsplit(url)
        self._clock = clock or SystemClock()
        self._subscriptions = tuple(subscriptions)
        self._ready = threading.Condition()
        self._inbox: deque[Received] = deque()
        self._generation = 0
        self._connected = False
        self._trouble = "not connected yet"
        self._publishing: Publish | None = None
        self._unconfirmed: list[paho.MQTTMessageInfo] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
        if self._where.username:
            self._client.username_pw_set(unquote(self._where.username), unquote(self._where.password or ""))
        if self._where.scheme == "mqtts":
            self._client.tls_set()
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_message = self._on_message

    def __enter__(self) -> "MqttBroker":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        assert self._where.hostname is not None
        self._client.connect_async(self._where.hostname, self._where.port or 1883, keepalive=10, clean_start=False, properties=properties)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnects in good order; the session stays with the broker and unacknowledged messages come again."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def name(self) -> str:
        """The broker's address without user and password."""
        return f"MQTT broker at {self._where.hostname}:{self._where.port}"

    def receive(self, effect: Receive) -> list[Received]:
        with self._ready:
            if not self._inbox:
                self._ready.wait(effect.wait_ms / 1000)
            batch = [self._inbox.popleft() for _ in range(min(effect.most, len(self._inbox)))]
            if not batch and not self._connected:
                raise Transient(f"{self.name}: {self._trouble}")
        return batch

    def acknowledge(self, effect: Acknowledge) -> None:
        for generation, mid in effect.tickets:
            # [MQTT-4.4.0-1]: a new connection redelivers; an old packet id may already name another message there
            if generation == self._generation:
                self._client.ack(mid, 1)

    def publish(self, effect: Publish) -> None:
        """Performed again after a :class:`Transient`, it goes on waiting for the acknowledgements still owed."""
        if self._publishing is not effect:
            self._publishing = effect
            self._unconfirmed = [
                self._client.publish(topic, payload, qos=1, properties=_user_properties(traceparent))
                for topic, payload, traceparent in effect.messages
            ]
        for info in self._unconfirmed:
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                self._publishing = None
                raise Transient(f"{self.name}: publish failed: {paho.error_string(info.rc)}")
        deadline = self._clock.monotonic() + PUBLISH_WAIT_S
        while any(not info.is_published() for info in self._unconfirmed):
            if self._clock.monotonic() > deadline:
                raise Transient(f"{self.name}: {self._trouble or 'no acknowledgement yet'}")
            next(info for info in self._unconfirmed if not info.is_published()).wait_for_publish(0.1)
        self._publishing = None

    def _on_connect(self, client: paho.Client, _: object, flags: paho.ConnectFlags, reason: Any, __: object) -> None:
        if reason.is_failure:
            self._trouble = str(reason)
            return
        with self._ready:
            self._generation += 1
            if flags.session_present:
                # all that was not acknowledged comes again, in order: what waits here would be second copies
                self._inbox.clear()
            self._connected, self._trouble = True, ""
        if self._subscriptions:
            client.subscribe([(topic, 1) for topic in self._subscriptions])
        log.info("connected", broker=self.name, session_present=flags.session_present)

    def _on_disconnect(self, _: object, __: object, ___: object, reason: Any, ____: object) -> None:
        self._connected, self._trouble = False, f"disconnected: {reason}"
        log.warning("disconnected", broker=self.name, reason=str(reason))

    def _on_connect_fail(self, *_: object) -> None:
        self._trouble = "connection refused"

    def _on_message(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # [MQTT-1.5.4-1] forbids it; a broker that lets it pass must not end this thread
            topic = bytes(message._topic).decode("utf-8", "replace")
        received = Received(topic, bytes(message.payload), _traceparent(message), self._clock.now_ms(), (self._generation, message.mid))
        with self._ready:
            self._inbox.append(received)
            self._ready.notify()


def _traceparent(message: paho.MQTTMessage) -> str:
    pairs: Sequence[tuple[str, str]] = getattr(message.properties, "UserProperty", ()) if message.properties else ()
    return next((value for name, value in pairs if name == "traceparent" and _TRACEPARENT.fullmatch(value)), "")


def _user_properties(traceparent: str) -> Properties | None:
    if not traceparent:
        return None
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("traceparent", traceparent)]
    return properties
