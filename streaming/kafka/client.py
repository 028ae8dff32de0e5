"""How every Kafka client of a service is set up, and how a record is handed to a producer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient

from mliot.fields import MAX_RECORD
from mliot.settings import Settings
from streaming.runtime.effects import Emit

MAX_CALL_S = 5.0
"""No single call to the client blocks longer, so that a stop and the status stay prompt while Kafka is away."""
Admin = Callable[[], AdminClient]
"""Answers the one client that a service asks about topics and offsets."""
OnDelivery = Callable[[KafkaError | None, object], None]


@dataclass(frozen=True)
class KafkaSettings:
    """What the log port needs to know: where Kafka is, as whom to read and write, and the budget of one commit."""

    bootstrap: str
    service: str
    instance: str = "0"
    transaction_s: float = 30.0
    fill_ms: int = 10

    @classmethod
    def of(cls, settings: Settings, service: str) -> "KafkaSettings":
        return cls(settings.kafka_address, service, settings.instance, settings.transaction_s, settings.commit_ms)

    @property
    def group(self) -> str:
        return f"mliot-{self.service}"

    def client(self, **more: Any) -> dict[str, Any]:
        """What every client of this service has in common; reconnects are quick, since a broker that restarts is ordinary."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": f"{self.group}-{self.instance}",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "socket.keepalive.enable": True,
            "log_level": 2,  # what goes wrong is said once, by the status and the log, not once a reconnect
            **more,
        }

    def producer(self, **more: Any) -> dict[str, Any]:
        """What every producer of this service has in common: in order, no duplicates of its own, hashed as Java clients hash."""
        return self.client(
            **{
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 2,
                "queue.buffering.max.messages": 200_000,
                "message.max.bytes": MAX_RECORD,
                **more,
            }
        )


def produce(producer: Producer, emit: Emit, delivered: OnDelivery | None = None) -> None:
    """Hands the record over; where the producer's queue is full, waits until it is not."""
    headers: list[tuple[str, str | bytes | None]] | None = [("traceparent", emit.traceparent)] if emit.traceparent else None
    while True:
        try:
            producer.produce(emit.topic, emit.value or None, emit.key, headers=headers, timestamp=emit.timestamp_ms, on_delivery=delivered)
        except BufferError:
            producer.poll(0.05)
        else:
            return
