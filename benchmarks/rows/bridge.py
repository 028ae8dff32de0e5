"""MQTT QoS 1 to Kafka acknowledged: the bridge beside a paho client that only receives and acknowledges, and two bridges beside one."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from benchmarks import log, mqtt
from benchmarks.instances import instance
from benchmarks.row import Row, Side
from benchmarks.servers import Health, held, own_settings, running, started, until
from mliot.messages import Frame, decode
from mliot.settings import Settings
from stack.standalone import StandaloneServer
from streaming.intake.decoders import load_decoders
from streaming.services.bridge import subscriptions

MESSAGES = 100_000
BARE, ONE = "bare paho client", "one bridge"


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings = own_settings(folder)
    with running(settings, "artemis", "kafka") as (broker, _):
        hop = _Hop(settings, broker)
        hop.bridges(1)  # not counted: a Java server is slower until it has compiled itself
        yield (
            Row(
                "MQTT QoS 1 to Kafka acknowledged",
                "messages/s",
                Side("the bridge, one process", lambda: hop.bridges(1)),
                (Side(BARE, hop.bare),),
                {BARE: 0.8},
                note=f"{MESSAGES:,} frames wait in a durable subscription of Artemis. The bridge checks each, writes it to Kafka "
                "(idempotent, acknowledged by all replicas) and only then acknowledges it to MQTT; the bare client receives and "
                "acknowledges. All frames are found in Kafka afterwards. One drain before the first round is not counted.",
            ),
            Row(
                "Two bridges by $share",
                "messages/s",
                Side("two bridges", lambda: hop.bridges(2, shared=True)),
                (Side(ONE, lambda: hop.bridges(1, shared=True)),),
                {ONE: 1.5},
                note="The same frames behind a shared subscription, drained by two processes or by one. Broker, Kafka and bridges have "
                f"the machine's {os.cpu_count()} cores together: a second bridge helps where the first one left any of them idle. A frame "
                "that the broker delivers twice counts once.",
            ),
        )


class _Hop:
    """The broker, Kafka, and what is measured between them. Each method returns messages a second."""

    def __init__(self, settings: Settings, broker: StandaloneServer) -> None:
        self._settings, self._broker = settings, broker
        self._number = count()

    def bridges(self, bridges: int, *, shared: bool = False) -> float:
        """Of so many bridges, from the moment when the broker lets them in until Kafka has acknowledged the last frame."""
        share = f"bench-{next(self._number)}" if shared else ""
        each = [instance(self._settings, number, share=share) for number in range(bridges)]
        log.empty(self._settings)
        with ExitStack() as stack:
            for settings in each:
                client_id = f"mliot-bridge-{settings.instance}"
                stack.enter_context(mqtt.session(settings.mqtt_address, client_id, subscriptions(settings, load_decoders())))
            mqtt.publish(self._settings.mqtt_address, MESSAGES)
            with held(self._broker):
                for settings in each:
                    stack.enter_context(started(settings, "bridge"))
                began = time.time()
            Health(*((settings, "bridge") for settings in each)).seconds_to_read(MESSAGES, time.perf_counter())
            ended_ms = until(f"{MESSAGES} frames are in Kafka", self._whole_since)
        return MESSAGES / (ended_ms / 1000 - began)

    def _whole_since(self) -> int | None:
        """When the last of all frames was written, ms; None while one is missing. One that came twice, as QoS 1 allows, counts once."""
        written: dict[str, int] = {}
        for message in log.everything(self._settings, Frame.topic_name):
            frame_id, at_ms = decode(Frame, message.value() or b"").frame_id, message.timestamp()[1]
            written[frame_id] = min(at_ms, written.get(frame_id, at_ms))
        if len(written) > MESSAGES:
            raise RuntimeError(f"of {MESSAGES} frames {len(written)} different ones are in Kafka")
        return max(written.values()) if len(written) == MESSAGES else None

    def bare(self) -> float:
        """Of a paho client with the bridge's session and Receive Maximum, whose callback counts."""
        address, filters = self._settings.mqtt_address, subscriptions(self._settings, load_decoders())
        done, received = threading.Event(), count(1)

        def count_one() -> None:
            if next(received) == MESSAGES:
                done.set()

        with ExitStack() as stack:
            stack.enter_context(mqtt.session(address, "bare", filters))
            mqtt.publish(address, MESSAGES)
            with held(self._broker):
                stack.enter_context(mqtt.bare_client(address, "bare", count_one))
                began = time.perf_counter()
            if not done.wait(mqtt.PATIENCE_S):
                raise TimeoutError(f"the bare client got {next(received) - 1} of {MESSAGES} messages")
            return MESSAGES / (time.perf_counter() - began)
