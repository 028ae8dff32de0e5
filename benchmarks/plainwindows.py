"""Minute windows as one writes them in plain Python: a dict of lists, closed as event time goes by, and written to Kafka."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

from confluent_kafka import Message, Producer

from benchmarks import log
from mliot.messages import Frame
from mliot.settings import Settings

MINUTE_MS = 60_000
GRACE_MS = 5_000
OUTPUT = "stream-window"
Key = tuple[str, str, int]
"""Grain, key and start."""


class PlainWindows:
    """The open windows by sensor and by room, each a list of readings a measurement."""

    def __init__(self) -> None:
        self._open: dict[Key, dict[str, list[float]]] = {}
        self._newest_ms = 0

    def add(self, frame: Mapping[str, Any]) -> None:
        start = frame["event_ms"] - frame["event_ms"] % MINUTE_MS
        for key in (("sensor_1m", frame["device"], start), ("place_1m", frame["place_id"], start)):
            window = self._open.get(key)
            if window is None:
                window = self._open[key] = defaultdict(list)
            for name, value in frame["payload"].items():
                window[name].append(value)
        self._newest_ms = max(self._newest_ms, frame["event_ms"])

    def closed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Key and values of every window that event time has passed by the grace."""
        ended = [key for key in self._open if key[2] + MINUTE_MS + GRACE_MS <= self._newest_ms]
        for key in ended:
            grain, name, start = key
            values = {f"{measure}_{what}": value for measure, of in self._open.pop(key).items() for what, value in statistics(of)}
            yield name, {"grain": grain, "key": name, "start_ms": start, "end_ms": start + MINUTE_MS, "values": values}


def statistics(values: list[float]) -> Iterator[tuple[str, float]]:
    """Those of our windows."""
    mean = sum(values) / len(values)
    yield "count", len(values)
    yield "min", min(values)
    yield "max", max(values)
    yield "avg", mean
    yield "stddev", sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    yield "last", values[-1]


def rate(settings: Settings, frames: int) -> float:
    """Frames a second, from Kafka to windows that Kafka has acknowledged."""
    windows = PlainWindows()
    producer = Producer({"bootstrap.servers": settings.kafka_address, "compression.type": "lz4", "linger.ms": 5})

    def take(messages: Sequence[Message]) -> int:
        for message in messages:
            windows.add(json.loads(message.value() or b""))
        for key, window in windows.closed():
            producer.produce(OUTPUT, json.dumps(window), key)
        producer.poll(0)
        return len(messages)

    with log.reading(settings, Frame.topic_name) as consumer:
        first = log.first_batch(consumer)
        began = time.perf_counter()
        got = take(first)
        while got < frames:
            got += take(consumer.consume(log.MOST, 1.0))
            consumer.commit(asynchronous=True)
        producer.flush()
        return got / (time.perf_counter() - began)
