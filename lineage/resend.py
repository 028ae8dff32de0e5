"""Publishes dead letters again, to where they came from."""

from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from confluent_kafka import KafkaError, Producer

from lineage.deadletters import Destination, destination
from lineage.letters import remember_replayed
from lineage.store import Store
from mliot.clock import Clock, Deadline
from mliot.errors import Transient
from mliot.messages import DeadLetter
from mliot.mqtt import MqttClient
from mliot.settings import Settings

WAIT_S = 15.0
"""For the broker's or Kafka's word that it has a message."""


class Publisher:
    """Connects when first needed, to what is needed; use it as a context manager."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._mqtt: MqttClient | None = None
        self._kafka: Producer | None = None

    def publish(self, letter: DeadLetter, to: Destination) -> None:
        """Returns once the other side has the original bytes. Raises :class:`Transient`, with the address, where it does not say so."""
        if to.system == "mqtt":
            self._to_mqtt(letter, to.topic)
        else:
            self._to_kafka(letter, to.topic)

    def _to_mqtt(self, letter: DeadLetter, topic: str) -> None:
        if self._mqtt is None:
            self._mqtt = MqttClient(self._settings.mqtt_address, f"mliot-deadletter-{uuid4().hex[:8]}")
            self._mqtt.start()
            self._mqtt.wait_ready(WAIT_S)
        refused = self._mqtt.refused
        properties = [("traceparent", letter.traceparent)] if letter.traceparent else []
        self._mqtt.publish(topic, letter.original, user_properties=properties, wait_s=WAIT_S)
        if self._mqtt.drain(WAIT_S):
            raise Transient(f"MQTT broker {self._mqtt.broker}: did not confirm dead letter {letter.dead_id} within {WAIT_S:g} s")
        if self._mqtt.refused > refused:
            raise Transient(f"MQTT broker {self._mqtt.broker}: refused dead letter {letter.dead_id} on {topic}")

    def _to_kafka(self, letter: DeadLetter, topic: str) -> None:
        address = self._settings.kafka_address
        if self._kafka is None:
            self._kafka = Producer(
                {
                    "bootstrap.servers": address,
                    "client.id": "mliot-deadletter",
                    "acks": "all",
                    "enable.idempotence": True,
                    "partitioner": "murmur2_random",  # as the services write: a place keeps its partition
                    "message.timeout.ms": int(WAIT_S * 1000),
                    "message.max.bytes": 4_000_000,
                    "log_level": 0,
                }
            )
        failed: list[str] = []
        headers: list[tuple[str, str | bytes | None]] = [("traceparent", letter.traceparent)] if letter.traceparent else []
        self._kafka.produce(topic, letter.original, letter.key, headers=headers, on_delivery=partial(_note_failure, failed))
        left = self._kafka.flush(WAIT_S + 1)
        if left or failed:
            raise Transient(f"Kafka at {address}: did not take dead letter {letter.dead_id}: {failed[0] if failed else 'no answer'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._mqtt is not None:
            self._mqtt.stop(Deadline.after(self._clock, 0 if error else WAIT_S))


def replay(
    store: Store, letters: Sequence[DeadLetter], publisher: Publisher, clock: Clock, *, by: str
) -> Iterable[tuple[DeadLetter, Destination]]:
    """Publishes each letter and then remembers it, one by one: a failure in between leaves what was done remembered.

    Yields what was done. Where every destination is not known beforehand (:class:`mliot.errors.UserError`), nothing is done.
    """
    planned = [(letter, destination(letter)) for letter in letters]
    for letter, to in planned:
        publisher.publish(letter, to)
        remember_replayed(store, letter.dead_id, at_ms=clock.now_ms(), by=by)
        store.commit()
        yield letter, to


def _note_failure(failed: list[str], error: KafkaError | None, _message: Any) -> None:
    if error is not None:
        failed.append(error.str())
