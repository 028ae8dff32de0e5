"""What devices and platform say to each other over MQTT: on which topics, and what stands in a command and its ack.

What stands in a frame is checked, and told as a schema, by :mod:`mliot.frames`. ``docs/asyncapi.yaml`` is generated from both.
"""

import msgspec

from mliot.fields import CommandId, Finite, Ms, Text, Word

FRAME_TOPICS = ("iot-frames-model", "iot-frames-sensor", "iot/{device}/frames")
COMMAND_TOPIC = "iot/{device}/command"
ACK_TOPIC = "iot/{device}/command/ack"


def topic_filter(topic: str) -> str:
    """The filter that matches ``topic`` of every device (MQTT 5, section 4.7.1.3)."""
    return topic.replace("{device}", "+")


class DeviceCommand(msgspec.Struct, frozen=True, kw_only=True):
    """An order to a device: ``action`` with ``value``, to be obeyed once, before ``expires_ms``, and answered with its id as often as it
    comes. ``decided_by`` is the prediction that it goes back to."""

    command_id: CommandId
    action: Word
    value: Finite
    expires_ms: Ms
    decided_by: Text = ""


class DeviceAck(msgspec.Struct, frozen=True, kw_only=True):
    """A device's answer to a command: done or not, and why not; when, or else the time of arrival counts."""

    command_id: CommandId
    ok: bool
    at_ms: Ms | None = None
    reason: Text = ""
