"""Frames of many sensors in many rooms, the same ones in every run."""

import math
import random
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

import msgspec

from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.messages import Feature, Frame, traceparent_of
from streaming.runtime.effects import Emit

SENSORS, ROOMS = 500, 100
PERIOD_MS = 5_000
"""Between two frames of one sensor."""
YEAR_MS = 365 * 86_400_000


class Published(NamedTuple):
    """One frame as a device publishes it."""

    topic: str
    message: bytes
    event_ms: int


def published(device: int, event_ms: int, rng: random.Random) -> Published:
    """What sensor ``device`` says at ``event_ms``: four readings, as the simulated fleet's sensors give."""
    hour = event_ms / 3_600_000
    body = {
        "id": f"sensor-{device:03d}",
        "place_id": f"room-{device % ROOMS:03d}",
        "payload": {
            "temperature": round(22 + 4 * math.sin(hour + device) + rng.random(), 2),
            "humidity": round(45 + 10 * math.cos(hour) + 2 * rng.random(), 1),
            "pressure": round(101_325 + 40 * rng.random()),
            "luminosity": round(400 * rng.random(), 1),
            "timestamp": event_ms,
        },
    }
    return Published(f"iot/{body['id']}/frames", msgspec.json.encode(body), event_ms)


def stream(start_ms: int) -> Iterator[Published]:
    """Every sensor in turn, evenly over each period, without end."""
    rng = random.Random(7)
    for number in count():
        yield published(number % SENSORS, start_ms + number * PERIOD_MS // SENSORS, rng)


def recent(frames: int) -> int:
    """The start of a :func:`stream` that begins at a full minute and whose frames, so many, are over by now."""
    start_ms = time.time_ns() // 1_000_000 - frames * PERIOD_MS // SENSORS
    return start_ms - start_ms % 60_000


def records(frames: int, start_ms: int) -> list[Emit]:
    """The first ``frames`` of :func:`stream` as the bridge writes them to Kafka."""
    measurements = load_measurements()

    def parsed(one: Published) -> Frame:
        return parse_frame(one.message, mqtt_topic=one.topic, arrived_ms=one.event_ms, measurements=measurements, retention_ms=YEAR_MS)

    found = map(parsed, islice(stream(start_ms), frames))
    return [Emit(frame.topic_name, frame.place_id, frame.encode(), traceparent_of(frame.frame_id)) for frame in found]


def feature_rows(rows: int, model: str) -> list[Emit]:
    """So many feature rows of a minute and a room each, as the features service writes them: six statistics of four readings, and more."""
    rng = random.Random(7)
    measured = ("temperature", "humidity", "pressure", "luminosity")
    found = []
    for number in range(rows):
        room, start_ms = f"room-{number % ROOMS:03d}", number // ROOMS * 60_000
        one = msgspec.json.decode(published(number % SENSORS, start_ms, rng).message)["payload"]
        values = {f"{name}_{statistic}": one[name] for name in measured for statistic in ("min", "max", "avg", "last")}
        values |= {f"{name}_count": 60.0 for name in measured} | {f"{name}_stddev": rng.random() for name in measured}
        values |= {name: rng.uniform(0, 2) for name in ("temperature_slope", "humidity_slope", "pressure_delta")}
        values |= {name: rng.uniform(1, 12) for name in ("dew_point_avg", "vapour_pressure_deficit_avg", "absolute_humidity_avg")}
        feature = Feature(
            feature_id=f"place_1m:{room}@{start_ms}",
            model=model,
            version="benchmark",
            grain="place_1m",
            key=room,
            place_id=room,
            start_ms=start_ms,
            end_ms=start_ms + 60_000,
            frames=60,
            first="stream-frame-0-0",
            last="stream-frame-0-59",
            made_ms=start_ms + 65_000,
            values=values,
        )
        found.append(Emit(feature.topic_name, room, feature.encode(), traceparent_of(feature.feature_id)))
    return found
