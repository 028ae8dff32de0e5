"""The broker port on a real MQTT 5 broker: a persistent session, manual acks, back pressure by Receive Maximum."""

import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import islice

from mliot import mqtt
from mliot.clock import Clock, Deadline, SystemClock
from mliot.errors import Transient
from mliot.fields import is_traceparent
from mliot.mqttsession import KnownSession
from streaming.runtime.effects import Acknowledge, Outgoing, Publish, Published, Receive, Received

SESSION_EXPIRY_S = 7 * 86_400
RECEIVE_MAXIMUM = 10_000
PUBLISH_WAIT_S = 2.0
STOP_S = 5.0


class MqttBroker:
    """The broker port. ``client_id`` is fixed, so that the broker keeps what comes while this process is away; ``session`` is told
    whether it did."""

    def __init__(
        self,
        address: str,
        client_id: str,
        subscriptions: Sequence[str],
        clock: Clock | None = None,
        *,
        session: KnownSession | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._subscriptions = tuple(subscriptions)
        self._arrived = threading.Condition()
        self._inbox: deque[tuple[mqtt.Received, int]] = deque()
        self._publishing: Publish | None = None
        self._unsent: deque[Outgoing] = deque()
        self._taken: list[Outgoing] = []
        self._client = mqtt.MqttClient(
            address,
            client_id,
            on_message=self._take,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
            clean_start=False,
            session_expiry_s=SESSION_EXPIRY_S,
            session=session,
        )

    def __enter__(self) -> "MqttBroker":
        self._client.start(self._subscriptions)
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnects in good order; the session stays with the broker, and what was not acknowledged comes again."""
        self._client.stop(Deadline.after(self._clock, STOP_S))

    def receive(self, effect: Receive) -> list[Received]:
        with self._arrived:
            self._forget_all_but(self._client.generation)
            if not self._inbox:
                self._arrived.wait(effect.wait_ms / 1000)
            taken = list(islice(self._inbox, effect.most))
            for _ in taken:
                self._inbox.popleft()
        if not taken:
            self._client.probe()
            if away := self._client.away:
                raise Transient(f"MQTT broker {self._client.broker}: {away}")
        return [
            Received(message.topic, message.payload, _traceparent(message), arrived_ms, message.ticket) for message, arrived_ms in taken
        ]

    def acknowledge(self, effect: Acknowledge) -> None:
        """A message of a connection that has ended is skipped: it comes again, and its packet id may name another one by now."""
        self._client.ack(effect.tickets)

    def publish(self, effect: Publish) -> Published:
        """Performed again after a :class:`Transient`, it goes on with what is unsent and waits for the confirmations still owed, of each
        message no longer than its time lasts."""
        if self._publishing is not effect:
            self._publishing, self._unsent, self._taken = effect, deque(effect.messages), []
        self._client.give_up_expired()
        while self._unsent:
            message = self._unsent[0]
            if self._left_s(message):
                self._client.publish(
                    message.topic,
                    message.payload,
                    confirmed=partial(self._taken.append, message),
                    user_properties=[("traceparent", message.traceparent)],
                    left_s=partial(self._left_s, message),
                    wait_s=PUBLISH_WAIT_S,
                )
            self._unsent.popleft()
        if owed := self._client.drain(PUBLISH_WAIT_S):
            raise Transient(f"MQTT broker {self._client.broker}: {self._client.away or f'{owed} messages are not confirmed yet'}")
        self._publishing = None
        return Published(self._taken, self._clock.now_ms())

    def probe(self) -> str:
        """Why the broker cannot be reached just now; '' while all is well. Asked in vain it answers by and by."""
        self._client.probe()
        return f"MQTT broker {self._client.broker}: {self._client.away}" if self._client.away else ""

    def _left_s(self, message: Outgoing) -> int:
        return message.left_s(self._clock.now_ms())

    def _take(self, message: mqtt.Received) -> None:
        with self._arrived:
            self._forget_all_but(message.generation)
            self._inbox.append((message, self._clock.now_ms()))
            self._arrived.notify()

    def _forget_all_but(self, generation: int) -> None:
        """Drops what came on an earlier connection, unacknowledged: the broker sends it again on the next. Kept, each reconnect would add a
        Receive Maximum of messages to memory, and a copy of each to Kafka."""
        if self._inbox and self._inbox[0][0].generation != generation:
            self._inbox.clear()


def _traceparent(message: mqtt.Received) -> str:
    return next((value for name, value in message.user_properties if name == "traceparent" and is_traceparent(value)), "")
