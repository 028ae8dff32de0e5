"""A message that a device is about to publish, with the id under which the platform will know it. Pure."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from devices.lorawan import Uplink
from mliot.frames import frame_id
from mliot.messages import DeadLetter

MODEL_TOPIC = "iot-frames-model"
SENSOR_TOPIC = "iot-frames-sensor"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Outgoing(NamedTuple):
    """``id`` is the frame's id, or the dead letter's where the message is ``broken`` on purpose; ``event_ms`` is the time it tells of."""

    event_ms: int
    topic: str
    message: bytes
    id: str
    broken: bool = False


def plain(body: Mapping[str, object], topic: str, device: str, event_ms: int) -> Outgoing:
    """``body`` as a frame in MLIoT's own shape; ``device`` and ``event_ms`` must be what it says."""
    message = msgspec.json.encode(body)
    return Outgoing(event_ms, topic, message, frame_id(device, event_ms, message))


def lorawan(uplink: Uplink, encode: Callable[[Uplink], tuple[str, bytes]]) -> Outgoing:
    """``uplink`` as the network server ``encode`` publishes it."""
    topic, message = encode(uplink)
    return Outgoing(uplink.at_ms, topic, message, frame_id(uplink.device, uplink.at_ms, message))


def broken(sound: Outgoing, message: bytes) -> Outgoing:
    """``message``, which nobody can parse, in place of ``sound``: its id is the one that the bridge's dead letter will have."""
    letter = DeadLetter.of(message, source=sound.topic, service="bridge", reason="", at_ms=sound.event_ms)
    return Outgoing(sound.event_ms, sound.topic, message, letter.dead_id, broken=True)


def date_of(at_ms: int) -> str:
    """UTC without a zone, whole seconds: the form that devices of this family send beside ``timestamp``."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).replace(tzinfo=None).isoformat(timespec="seconds")
