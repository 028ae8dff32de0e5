"""Publishing at the edge: each message at QoS 1, and a line in the journal once the broker has it.

Messages that are on their way together may arrive in another order: Artemis mixes up what is not yet confirmed, even within a topic
(measured: by up to the whole window, and once in ten thousands with a window of one; ARTEMIS-6191). Out of order by more than the grace,
frames would come too late for their windows. So messages whose times lie further apart than ``apart_ms`` are never on their way together.
"""

import threading
from collections.abc import Iterable

from devices.outgoing import Outgoing
from mliot.clock import Clock, Deadline
from mliot.errors import Transient
from mliot.journal import Acknowledged, Journal
from mliot.mqtt import MqttClient
from mliot.services import ServiceStatus
from mliot.settings import Settings

APART_OF_GRACE = 0.5
"""The fraction of the grace by which messages may come out of order."""
STOP_S = 10.0
"""Longest wait for the broker's last acknowledgements when stopping, in seconds."""
PATIENCE_S = 0.5
"""How long to wait for the broker before looking whether to stop, in seconds."""


def apart_ms(settings: Settings) -> int:
    """How far apart the times of messages that are on their way together may lie, ms: well inside the grace."""
    return round(settings.grace_s * 1000 * APART_OF_GRACE)


class Publisher:
    """Sends through ``client`` and notes in ``journal`` what arrived; ``stop`` interrupts a wait for a broker that is away."""

    def __init__(
        self,
        client: MqttClient,
        journal: Journal,
        clock: Clock,
        stop: threading.Event,
        *,
        apart_ms: int,
        status: ServiceStatus | None = None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._clock = clock
        self._stop = stop
        self._apart_ms = apart_ms
        self._together_from_ms = 0
        self._status = status
        self._sent = 0
        self._acked = 0
        self._told = (0, 0)
        self.acked_event_ms = 0
        """Event time of the message that the broker acknowledged last."""

    @property
    def acked(self) -> int:
        """Messages acknowledged so far."""
        return self._acked

    def send_all(self, messages: Iterable[Outgoing]) -> bool:
        """Sends all of ``messages``; False where it was told to stop before the end."""
        for outgoing in messages:
            if not self.send(outgoing):
                return False
            if self._sent % 1000 == 0:
                self.tell()
        return True

    def send(self, outgoing: Outgoing) -> bool:
        """Sends one message, waiting for the broker as long as it takes; False where it was told to stop meanwhile."""

        def confirmed() -> None:
            now_ms = self._clock.now_ms()
            self._journal.write(Acknowledged("dead" if outgoing.broken else "frame", outgoing.id, outgoing.topic, now_ms))
            self._acked += 1
            self.acked_event_ms = outgoing.event_ms

        if outgoing.event_ms > self._together_from_ms + self._apart_ms:
            while self._client.drain(PATIENCE_S):
                if self._stop.is_set():
                    return False
                self.tell()
            self._together_from_ms = outgoing.event_ms
        while not self._stop.is_set():
            try:
                self._client.publish(outgoing.topic, outgoing.message, confirmed=confirmed, wait_s=PATIENCE_S)
            except Transient:
                self.tell()
            else:
                self._sent += 1
                return True
        return False

    def answer(self, topic: str, message: bytes) -> None:
        """Sends a message that is no frame. Raises :class:`Transient` where the broker does not take it soon."""
        self._client.publish(topic, message, wait_s=PATIENCE_S)

    def drain(self) -> int:
        """Waits for acknowledgements, a while; the number still missing."""
        return self._client.drain(STOP_S)

    def tell(self) -> None:
        """Brings the status up to date."""
        if self._status is None:
            return
        if self._client.away is None:
            self._status.ok()
        else:
            self._status.waiting(f"MQTT broker {self._client.broker}: {self._client.away}")
        sent, acked = self._sent, self._acked
        self._status.count({"read": sent - self._told[0], "used": acked - self._told[1]})
        self._told = (sent, acked)
        self._status.lag(self._client.unconfirmed)

    def stop(self) -> int:
        """Waits for the last acknowledgements and disconnects; the number that did not come."""
        return self._client.stop(Deadline.after(self._clock, STOP_S))
