"""An MQTT 5 connection that keeps its promises, a thin and typed edge over paho-mqtt.

A bounded window of QoS 1 messages, each confirmed by the broker; subscriptions that outlive a reconnect; acks that never cross one; and a
stop inside a deadline.

Callbacks run on the network thread: they must be quick and must not call :meth:`MqttClient.publish`.
"""

import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from mliot.burstclient import BurstClient
from mliot.clock import Deadline, SystemClock
from mliot.errors import SettingError, Transient
from mliot.mqttaddress import BrokerAddress
from mliot.mqttsession import KnownSession

KEEPALIVE_S = 30
RECONNECT_S = (1, 5)
"""Shortest and longest pause between two attempts to connect, in seconds."""
SILENT_S, ANSWER_S = 1.5, 2.0
"""Seconds of silence after which :meth:`MqttClient.probe` asks for a sign of life, and seconds that the broker has for it. By keep alive
alone a broker that hangs with its connections open would be noticed after a minute."""
REFUSED = {
    0x86: "user and password are those of MLIOT_MQTT_URL, or of the local broker's home and MLIOT_MQTT_PASSWORD",
    0x87: "user and password are those of MLIOT_MQTT_URL, or of the local broker's home and MLIOT_MQTT_PASSWORD",
    0x9C: "the local broker keeps client ids that begin with mliot- for the platform; its password is MLIOT_MQTT_PASSWORD",
}
"""What to do about a refusal, by its reason code (MQTT 5, section 3.2.2.2)."""
NO_FILTER = "mliot/no-such-filter"

Ticket = tuple[int, int]
"""What :meth:`MqttClient.ack` needs to know of a message: its connection's number, and its packet identifier there."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came in; ``generation`` is its connection's number."""

    topic: str
    payload: bytes
    user_properties: tuple[tuple[str, str], ...]
    mid: int
    generation: int

    @property
    def ticket(self) -> Ticket:
        return self.generation, self.mid


class MqttClient:
    """One connection to the broker at ``address`` (``mqtt[s]://[user:password@]host:port``).

    ``window``: most messages published and not yet confirmed. ``manual_ack``: the broker keeps each message until :meth:`ack`;
    ``receive_maximum`` bounds how many it sends ahead of that. ``session_expiry_s`` and ``clean_start=False`` keep the session over
    a restart; ``session`` is told whether the broker had it.
    """

    def __init__(
        self,
        address: str,
        client_id: str,
        *,
        on_message: Callable[[Received], None] | None = None,
        window: int = 256,
        manual_ack: bool = False,
        receive_maximum: int | None = None,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        session: KnownSession | None = None,
    ) -> None:
        self._address = BrokerAddress.of(address)
        self._clean_start = clean_start
        self._session = session
        self._connect_properties = _connect_properties(session_expiry_s, receive_maximum)
        self._on_message = on_message
        self._filters: list[str] = []
        self._changed = threading.Condition()
        self._generation = 0
        self._connected = False
        self._subscribed = False
        self._stopping = False
        self._away: str | None = "not connected yet"
        self._clock = SystemClock()
        self._heard = 0.0
        self._asked: float | None = None
        self._window = window
        self._limit = 0  # until the broker has said how much it takes
        self._reserved = 0
        self._unconfirmed: dict[int, Callable[[], None] | None] = {}
        self._early: dict[int, bool] = {}
        self._refused = 0
        self._client = self._make(self._address.reserved(client_id), manual_ack)
        authenticate(self._client, self._address)

    def _make(self, client_id: str, manual_ack: bool) -> BurstClient:
        client = BurstClient(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=manual_ack)
        client.max_inflight_messages_set(self._window)
        client.reconnect_delay_set(*RECONNECT_S)
        client.on_connect = self._handle_connect
        client.on_connect_fail = self._handle_connect_fail
        client.on_disconnect = self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_unsubscribe = lambda *_: self._hear()
        client.on_publish = self._handle_publish
        client.on_message = self._handle_message
        return client

    @property
    def broker(self) -> str:
        """``host:port``, without credentials."""
        return self._address.shown

    @property
    def away(self) -> str | None:
        """Why the broker cannot be reached just now, or does not answer :meth:`probe`; None while all is well."""
        asked = self._asked
        if self._away is None and asked is not None and self._clock.monotonic() - asked > ANSWER_S:
            return "does not answer"
        return self._away

    def probe(self) -> None:
        """Asks a broker that has been silent for a while for a sign of life: to end a subscription that is none, which it must answer
        (MQTT 5, section 3.10.4)."""
        with self._changed:
            now = self._clock.monotonic()
            if not self._connected or self._asked is not None or now - self._heard < SILENT_S:
                return
            self._asked = now
        self._client.unsubscribe(NO_FILTER)

    @property
    def generation(self) -> int:
        """The connection's number: another one as soon as a connection ends, and again when the next begins."""
        return self._generation

    @property
    def refused(self) -> int:
        """Messages that the broker answered with a failure, so far."""
        return self._refused

    @property
    def unconfirmed(self) -> int:
        """Messages published and not yet confirmed."""
        return self._reserved

    def start(self, filters: Iterable[str] = ()) -> None:
        """Begins to connect, in the background and for ever; ``filters`` are subscribed (QoS 1) on every connect."""
        self._filters = list(filters)
        self._client.connect_async(
            self._address.host, self._address.port, KEEPALIVE_S, clean_start=self._clean_start, properties=self._connect_properties
        )
        self._client.loop_start()

    def wait_ready(self, wait_s: float) -> None:
        """Returns once connected and subscribed. Raises :class:`Transient` after ``wait_s`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._connected and (self._subscribed or not self._filters), wait_s):
                raise Transient(f"MQTT broker {self.broker}: {self._away or 'no answer to the subscription'}")

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        confirmed: Callable[[], None] | None = None,
        user_properties: Iterable[tuple[str, str]] = (),
        left_s: Callable[[], int] | None = None,
        wait_s: float = 30.0,
    ) -> None:
        """Sends a message at QoS 1; ``confirmed`` is called once the broker has it, also when that takes reconnects.

        ``left_s`` tells the whole seconds that it is still worth sending: so long the broker keeps it, counted anew where it is sent again,
        and from 0 on it is not.

        Waits for room in the window. Raises :class:`Transient` after ``wait_s`` seconds without room: then nothing was sent.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._reserved < self._limit, wait_s):
                raise Transient(f"MQTT broker {self.broker}: {self._away or f'{self._reserved} messages unconfirmed'}")
            self._reserved += 1
        # Outside the lock: paho holds its own one while it calls _handle_publish, which needs ours.
        info = self._client.publish(topic, payload, qos=1, properties=_publish_properties(user_properties, left_s))
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            self._release()
            raise Transient(f"MQTT broker {self.broker}: message not taken: {info.rc.name}")
        with self._changed:
            accepted = self._early.pop(info.mid, None)
            if accepted is None:
                self._unconfirmed[info.mid] = confirmed
        if accepted and confirmed is not None:
            confirmed()

    def ack(self, tickets: Iterable[Ticket]) -> int:
        """Tells the broker that these messages are done with. Those whose connection has ended are left out, as they come again, and their
        packet identifier may be another's by now; how many were told."""
        with self._changed:
            mids = [mid for generation, mid in tickets if generation == self._generation]
            self._client.ack_all(mids)
            return len(mids)

    def give_up_expired(self) -> None:
        """Forgets the messages whose time is over before the broker has confirmed them: they are not sent again, nor confirmed later."""
        gone = self._client.drop_where(lambda message: isinstance(message.properties, _Expiring) and not message.properties.left_s())
        with self._changed:
            for mid in gone:
                self._unconfirmed.pop(mid, None)
            self._reserved -= len(gone)
            self._changed.notify_all()

    def drain(self, wait_s: float) -> int:
        """Waits until every message is confirmed, at most ``wait_s`` seconds; the number that is not."""
        with self._changed:
            self._changed.wait_for(lambda: self._reserved == 0, wait_s)
            return self._reserved

    def stop(self, deadline: Deadline) -> int:
        """Waits for confirmations until ``deadline``, then disconnects and ends the network thread; the number left unconfirmed."""
        left = self.drain(deadline.left())
        self._stopping = True
        self._client.disconnect()
        if left:  # the broker does not answer: the network thread would wait for it
            self._client.drop_out_messages()
            sock = self._client.socket()
            if sock is not None:
                sock.close()
        self._client.loop_stop()
        return left

    def _hear(self) -> None:
        """The broker has sent something."""
        self._heard, self._asked = self._clock.monotonic(), None
        self._client.heard()

    def _release(self) -> None:
        with self._changed:
            self._reserved -= 1
            self._changed.notify_all()

    def _handle_connect(self, client: Client, _data: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None) -> None:
        if reason.is_failure:
            hint = REFUSED.get(reason.value)
            self._lost(f"refused: {reason}" + (f"; {hint}" if hint else ""))
            return
        self.give_up_expired()  # before paho sends again what was not confirmed on the connection before
        with self._changed:
            self._generation += 1
            self._connected, self._subscribed, self._away = True, False, None
            self._hear()
            self._limit = min(self._window, getattr(properties, "ReceiveMaximum", self._window))
            self._changed.notify_all()
        if self._session is not None:
            self._session.resumed(flags.session_present)
        if self._filters:
            client.subscribe([(name, SubscribeOptions(qos=1)) for name in self._filters])
        _log.info("connected", broker=self.broker, session_present=flags.session_present)

    def _handle_connect_fail(self, _client: Client, _data: Any) -> None:
        self._lost(no_connection(self._client.failure))

    def _handle_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        failure = self._client.failure
        self._lost(no_connection(failure) if isinstance(failure, ssl.SSLError) else f"connection ended: {reason}")

    def _lost(self, why: str) -> None:
        with self._changed:
            first = self._connected or self._away == "not connected yet"
            self._generation += 1
            self._connected, self._subscribed, self._away = False, False, why
            self._changed.notify_all()
        if first and not self._stopping:  # then each further attempt fails the same way: said once
            _log.warning("broker away, trying again until it answers", broker=self.broker, why=why)

    def _handle_subscribe(self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None) -> None:
        for name, reason in zip(self._filters, reasons, strict=True):
            if reason.is_failure:
                _log.error("subscription refused", broker=self.broker, filter=name, why=str(reason))
        self._hear()
        with self._changed:
            self._subscribed = not any(reason.is_failure for reason in reasons)
            self._changed.notify_all()
        if self._subscribed and self._session is not None:
            self._session.subscribed()

    def _handle_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None) -> None:
        confirmed = None
        self._hear()
        with self._changed:
            self._reserved -= 1
            if mid in self._unconfirmed:
                confirmed = self._unconfirmed.pop(mid)
            else:
                self._early[mid] = not reason.is_failure  # before publish() knew its number
            if reason.is_failure:
                self._refused += 1
            self._changed.notify_all()
        if reason.is_failure:
            _log.error("message refused", broker=self.broker, why=str(reason))
        elif confirmed is not None:
            confirmed()

    def _handle_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._hear()
        if self._on_message is not None:
            properties = tuple(getattr(message.properties, "UserProperty", ()))
            self._on_message(Received(message.topic, bytes(message.payload), properties, message.mid, self._generation))


def authenticate(client: Client, address: BrokerAddress) -> None:
    """Has ``client`` say who it is, and speak TLS where ``address`` demands it."""
    if address.user:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        client.tls_set_context(_tls(address))


def _tls(address: BrokerAddress) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca or None)
    except OSError as error:
        raise SettingError(f"MLIOT_MQTT_CA={address.ca}: {unusable(error)}") from error
    if address.certificate:
        try:
            context.load_cert_chain(address.certificate, address.key or None)
        except OSError as error:
            files = f"MLIOT_MQTT_CERTIFICATE={address.certificate}" + (f", MLIOT_MQTT_KEY={address.key}" if address.key else "")
            raise SettingError(f"{files}: {unusable(error)}") from error
    return context


def unusable(error: OSError) -> str:
    """Why a PEM file cannot be used, in the words of a person."""
    return f"no such certificates or key in PEM ({error.reason})" if isinstance(error, ssl.SSLError) else error.strerror or str(error)


def no_connection(error: OSError | None) -> str:
    """Why there is no connection to a broker, in the words of a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({error.verify_message}); MLIOT_MQTT_CA names the authority that signed it"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails ({error.reason}); it may not speak TLS on this port, or want a client's certificate (MLIOT_MQTT_CERTIFICATE)"
    return "cannot be reached"


def _connect_properties(session_expiry_s: int, receive_maximum: int | None) -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = session_expiry_s
    if receive_maximum is not None:
        properties.ReceiveMaximum = receive_maximum
    return properties


class _Expiring(Properties):
    """The properties of a message that expires. How much is left is written when the packet is, which may be on a later connection."""

    left_s: Callable[[], int]

    def __init__(self, left_s: Callable[[], int]) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        object.__setattr__(self, "left_s", left_s)

    def pack(self) -> bytes:
        self.MessageExpiryInterval = max(1, self.left_s())  # some brokers take 0 for no expiry
        return super().pack()  # type: ignore[no-untyped-call, no-any-return]


def _publish_properties(user_properties: Iterable[tuple[str, str]], left_s: Callable[[], int] | None) -> Properties | None:
    pairs = list(user_properties)
    if not pairs and left_s is None:
        return None
    properties = Properties(PacketTypes.PUBLISH) if left_s is None else _Expiring(left_s)
    if pairs:
        properties.UserProperty = pairs
    return properties
