"""The broker port in memory: what was published to it waits, in order, until it is acknowledged; at times it is sent again."""

from collections import deque
from dataclasses import dataclass, field

from mliot.clock import ManualClock
from mliot.errors import Transient
from streaming.runtime.effects import Acknowledge, Outgoing, Publish, Published, Receive, Received
from streaming.simulated.faults import Faults

Ticket = tuple[int, int]


@dataclass
class SimulatedBroker:
    """One subscriber with a persistent session. ``published`` is what was sent to devices, a message perhaps more than once, and beside
    each in ``kept_until_ms`` when the broker throws it away undelivered. It is away until ``away_until_ms``.

    ``receive_maximum``: most messages that it has unacknowledged (MQTT 5, section 3.1.2.11.3).
    """

    clock: ManualClock
    faults: Faults = field(default_factory=Faults)
    published: list[Outgoing] = field(default_factory=list)
    kept_until_ms: list[int] = field(default_factory=list)
    away_until_ms: int = 0
    receive_maximum: int = 65_535
    _waiting: deque[tuple[str, bytes, str]] = field(default_factory=deque)
    _handed: dict[Ticket, tuple[str, bytes, str]] = field(default_factory=dict)
    _generation: int = 1
    _next: int = 0
    idle_reads: int = 0

    def offer(self, topic: str, payload: bytes, traceparent: str = "") -> None:
        """A device publishes at QoS 1."""
        self._waiting.append((topic, payload, traceparent))

    def reconnect(self) -> None:
        """The consumer's connection broke: what it had not acknowledged comes again, first and in order, under new tickets."""
        self._waiting.extendleft(reversed(self._handed.values()))
        self._handed.clear()
        self._generation += 1

    @property
    def held(self) -> int:
        """What was sent to the subscriber and waits in its memory to be received."""
        return min(len(self._waiting), self.receive_maximum - len(self._handed))

    @property
    def unacknowledged(self) -> int:
        return len(self._waiting) + len(self._handed)

    def receive(self, effect: Receive) -> list[Received]:
        self._reach()
        if self.faults.strikes("redeliver"):
            self.reconnect()
        count = min(self.faults.up_to(effect.most), self.held)
        batch: list[Received] = []
        for message in [self._waiting.popleft() for _ in range(count)]:
            self._next += 1
            ticket = (self._generation, self._next)
            self._handed[ticket] = message
            batch.append(Received(*message, self.clock.now_ms(), ticket))
        self.idle_reads = 0 if batch else self.idle_reads + 1
        if not batch:
            self.clock.advance(effect.wait_ms)
        return batch

    def acknowledge(self, effect: Acknowledge) -> None:
        """An acknowledgement of a connection that is gone is skipped; one may get lost with its connection."""
        self._reach()
        if self.faults.strikes("redeliver"):
            self.reconnect()
        for ticket in effect.tickets:
            self._handed.pop(ticket, None)

    def publish(self, effect: Publish) -> Published:
        """Performed again after a :class:`Transient`, all of it may be there twice: QoS 1 promises no more."""
        taken = [message for message in effect.messages if message.left_s(self.clock.now_ms())]
        if taken:
            self._reach()
            if self.faults.strikes("away"):
                raise Transient("the simulated MQTT broker is away")
        for message in taken:
            self.published.append(message)
            self.kept_until_ms.append(self.clock.ms + message.left_s(self.clock.now_ms()) * 1000)
            self.faults.crash("crash_in_commit")
        if taken and self.faults.strikes("unanswered"):
            raise Transient("messages are not confirmed yet")
        return Published(taken, self.clock.now_ms())

    def _reach(self) -> None:
        if self.clock.ms < self.away_until_ms:
            raise Transient("the simulated MQTT broker is away")
