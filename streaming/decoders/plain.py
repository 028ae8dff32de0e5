"""Frames in MLIoT's own shape, as JSON (``DeviceFrame`` in ``docs/asyncapi.yaml``)."""

from collections.abc import Mapping, Sequence

from mliot.frames import json_object

TOPICS = ("iot-frames-model", "iot-frames-sensor", "iot/{device}/frames")


def decode(topic: str, message: bytes) -> Sequence[Mapping[str, object]]:  # noqa: ARG001
    """The frame that the message is."""
    return (json_object(message),)
