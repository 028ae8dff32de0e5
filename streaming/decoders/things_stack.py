"""LoRaWAN uplinks as The Things Stack v3 publishes them over MQTT: ``ApplicationUp`` with ``uplink_message``."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streaming.intake.uplinks import Reception, Undecoded, decoded, frame, radio_payload

TOPICS = ("v3/{application}/devices/{device}/up",)


class ThingsStackDevice(msgspec.Struct):
    """Which device: the frame's name is its id."""

    device_id: str
    dev_eui: str = ""


class ThingsStackVersion(msgspec.Struct, frozen=True):
    """The device's entry in the device repository."""

    model_id: str = ""


class ThingsStackMessage(msgspec.Struct):
    """What it sent: the numbers of ``decoded_payload`` are its readings, the frame's place is the attribute ``place-id``.

    Without a ``decoded_payload``, a codec for the device or its model reads ``frm_payload`` (base64).
    """

    decoded_payload: dict[str, Any] | None = None
    rx_metadata: list[Reception] = []
    attributes: dict[str, str] = {}
    frm_payload: str = ""
    f_port: int = 0
    version_ids: ThingsStackVersion = ThingsStackVersion()


class ThingsStackUplink(msgspec.Struct):
    """One uplink; ``received_at`` is when the network server had it."""

    end_device_ids: ThingsStackDevice
    uplink_message: ThingsStackMessage
    received_at: str | None = None


MESSAGE = ThingsStackUplink
_UPLINK = msgspec.json.Decoder(ThingsStackUplink)


def decode(topic: str, message: bytes) -> Sequence[Mapping[str, object] | Undecoded]:  # noqa: ARG001
    """The frame in the uplink."""
    uplink = decoded(_UPLINK, "The Things Stack", message)
    ids, sent = uplink.end_device_ids, uplink.uplink_message
    place = sent.attributes.get("place-id", "")  # its attributes may not have a "_" in their names
    device = {"id": ids.dev_eui, "name": ids.device_id, "place_id": place}
    if sent.decoded_payload is None:
        names = (ids.device_id, ids.dev_eui, sent.version_ids.model_id)
        payload = radio_payload("frm_payload", sent.frm_payload)
        why = "decoded_payload is missing: the device has no payload formatter"
        return (Undecoded(names, sent.f_port, payload, device, sent.rx_metadata, uplink.received_at, why),)
    return (frame(device, "decoded_payload", sent.decoded_payload, sent.rx_metadata, uplink.received_at),)
