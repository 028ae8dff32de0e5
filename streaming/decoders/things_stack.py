"""LoRaWAN uplinks as The Things Stack v3 publishes them over MQTT: ``ApplicationUp`` with ``uplink_message``."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mliot.errors import Rejected
from streaming.intake.uplinks import Reception, decoded, frame

TOPICS = ("v3/{application}/devices/{device}/up",)


class ThingsStackDevice(msgspec.Struct):
    """Which device: the frame's name is its id."""

    device_id: str
    dev_eui: str = ""


class ThingsStackMessage(msgspec.Struct):
    """What it sent: the numbers of ``decoded_payload`` are its readings, the frame's place is the attribute ``place-id``."""

    decoded_payload: dict[str, Any] | None = None
    rx_metadata: list[Reception] = []
    attributes: dict[str, str] = {}


class ThingsStackUplink(msgspec.Struct):
    """One uplink; ``received_at`` is when the network server had it."""

    end_device_ids: ThingsStackDevice
    uplink_message: ThingsStackMessage
    received_at: str | None = None


MESSAGE = ThingsStackUplink
_UPLINK = msgspec.json.Decoder(ThingsStackUplink)


def decode(topic: str, message: bytes) -> Sequence[Mapping[str, object]]:  # noqa: ARG001
    """The frame in the uplink."""
    uplink = decoded(_UPLINK, "The Things Stack", message)
    ids, sent = uplink.end_device_ids, uplink.uplink_message
    if sent.decoded_payload is None:
        raise Rejected("decoded_payload is missing: the device has no payload formatter")
    place = sent.attributes.get("place-id", "")  # its attributes may not have a "_" in their names
    device = {"id": ids.dev_eui, "name": ids.device_id, "place_id": place}
    return (frame(device, "decoded_payload", sent.decoded_payload, sent.rx_metadata, uplink.received_at),)
