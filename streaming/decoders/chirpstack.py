"""LoRaWAN uplinks as ChirpStack v4 publishes them over MQTT: ``integration.UplinkEvent`` in its JSON form."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streaming.intake.uplinks import Reception, Undecoded, decoded, frame, radio_payload

TOPICS = ("application/{application}/device/{device}/event/up",)


class ChirpStackDevice(msgspec.Struct, rename="camel"):
    """Which device: the frame's name is its name, the frame's place its tag ``place_id``."""

    dev_eui: str
    device_name: str = ""
    device_profile_name: str = ""
    tags: dict[str, str] = {}


class ChirpStackUplink(msgspec.Struct, rename="camel"):
    """One uplink: the numbers of ``object`` are its readings, ``time`` is when the network server had it.

    Without an ``object``, a codec for the device or its profile reads ``data`` (base64).
    """

    device_info: ChirpStackDevice
    time: str | None = None
    object: dict[str, Any] | None = None
    rx_info: list[Reception] = []
    data: str = ""
    f_port: int = 0


MESSAGE = ChirpStackUplink
_UPLINK = msgspec.json.Decoder(ChirpStackUplink)


def decode(topic: str, message: bytes) -> Sequence[Mapping[str, object] | Undecoded]:  # noqa: ARG001
    """The frame in the uplink."""
    uplink = decoded(_UPLINK, "ChirpStack", message)
    info = uplink.device_info
    device = {"id": info.dev_eui, "name": info.device_name, "place_id": info.tags.get("place_id", "")}
    if uplink.object is None:
        names = (info.dev_eui, info.device_profile_name)
        payload = radio_payload("data", uplink.data)
        why = "object is missing: the device profile has no codec"
        return (Undecoded(names, uplink.f_port, payload, device, uplink.rx_info, uplink.time, why),)
    return (frame(device, "object", uplink.object, uplink.rx_info, uplink.time),)
