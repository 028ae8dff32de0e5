"""Commands and acks, as devices and platform exchange them over MQTT: on which topics, and what stands in them.

On which topics frames come the decoders say (``streaming/decoders``); what stands in one is checked, and told as a schema, by
:mod:`mliot.frames`. ``docs/asyncapi.yaml`` is generated from all of these.
"""

import msgspec

from mliot.fields import CommandId, Finite, Ms, Text, Word

COMMAND_TOPIC = "iot/{device}/command"
ACK_TOPIC = "iot/{device}/command/ack"


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
