"""Generated frames as they come: out of order, redelivered, with silent sensors, missing measurements, ties and a sensor that moves."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

from tests.unit.dbt.naive import HOUR, MINUTE, Logged

START = 1_764_000_000_000 // HOUR * HOUR


def generated_frames(count: int = 3000, seed: int = 1, partitions: int = 2) -> list[Logged]:
    """``count`` frames of 90 minutes of six sensors in three places, and four days of an hourly flow meter, in log order."""
    rng = random.Random(seed)
    frames = [_frame(rng, count, index) for index in range(count)] + [
        _made(rng, "meter", "water-1", START + hour * HOUR + rng.randrange(HOUR), {"water_flow": 30 + rng.gauss(0, 5)})
        for hour in range(-72, 24)
        if rng.random() > 0.15
    ]
    frames += [replace(frame) for frame in rng.sample(frames, count // 10)]  # redeliveries
    frames.sort(key=lambda frame: frame.event_ms + rng.gauss(0, 20_000))
    held = [0] * partitions
    logged = []
    for frame in frames:
        partition = sum(frame.place_id.encode()) % partitions
        held[partition] += 1 + (rng.random() < 0.05)  # transaction markers leave holes
        logged.append(replace(frame, partition=partition, offset=held[partition]))
    return logged


def raw_value(frame: Logged) -> str:
    """The JSON that stream-frame carries for ``frame``."""
    return json.dumps(
        {
            "frame_id": frame.frame_id,
            "device": frame.device,
            "place_id": frame.place_id,
            "event_ms": frame.event_ms,
            "arrived_ms": frame.event_ms + 40,
            "undated": False,
            "mqtt_topic": "iot-frames-model",
            "payload": frame.payload,
        }
    )


def raw_rows(frames: Sequence[Logged]) -> list[tuple[str, int, int, int, str, str, None]]:
    """``frames`` as rows of raw.frame."""
    return [("stream-frame", frame.partition, frame.offset, frame.event_ms, frame.place_id, raw_value(frame), None) for frame in frames]


def _frame(rng: random.Random, count: int, index: int) -> Logged:
    number = rng.randrange(6)
    at = START + index * 90 * MINUTE // count
    minute = (at - START) // MINUTE
    if number == 5 and 20 <= minute < 55:  # a silent sensor; its place goes on with another
        number = 4
    payload = {
        "temperature": 20 + number + 5 * rng.random(),
        "humidity": rng.choice([0.0, 100.0, 40 + 20 * rng.random()]) if number == 1 else 40 + 20 * rng.random(),
        "pressure": 101_325 + rng.gauss(0, 300),
        "fan_speed": float(rng.randrange(4)),
        "unknown_reading": 1.5,
    }
    kept = {name: value for name, value in payload.items() if rng.random() > (0.3 if number != 3 else 0.9)}
    place = "000000000" if number == 0 else f"room-{number % 2}"
    if number == 2 and minute > 30:  # a sensor that moved
        place = "room-1"
    at -= at % 1000 if rng.random() < 0.3 else 0  # ties in event time
    return _made(rng, f"iot_sensor_{number}", place, at, kept or {"unknown_reading": 1.5})


def _made(rng: random.Random, device: str, place: str, at: int, payload: dict[str, float]) -> Logged:
    return Logged(0, 0, f"{device}@{at}#{rng.getrandbits(32):08x}", device, place, at, payload)
