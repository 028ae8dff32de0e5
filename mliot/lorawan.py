"""LoRaWAN uplinks, as network servers publish them over MQTT, to the frames of MLIoT; and back, for devices that are simulated. Pure.

Shapes: ChirpStack v4, ``integration.UplinkEvent`` in its JSON form; The Things Stack v3, ``ApplicationUp`` with ``uplink_message``.
Both carry what the device profile's decoder made of the radio payload, and that is free-form: its numbers are readings (nested ones are
joined by ``_``, so that Cayenne's ``{"temperatureSensor": {"1": 21.5}}`` becomes ``temperatureSensor_1``); its texts, booleans, nulls and
lists are not, and are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from mliot.errors import Rejected
from mliot.frames import MAX_BYTES, MAX_DEPTH

CHIRPSTACK_FILTER = "application/+/device/+/event/up"
THINGS_STACK_FILTER = "v3/+/devices/+/up"
UPLINK_FILTERS = (CHIRPSTACK_FILTER, THINGS_STACK_FILTER)
"""The MQTT topic filters whose messages :func:`decode_uplink` understands."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")


class _Reception(msgspec.Struct):
    """One gateway's reception: signal strength in dBm, signal to noise ratio in dB. Protobuf's JSON leaves zeros out."""

    rssi: float = 0.0
    snr: float = 0.0


class _DeviceInfo(msgspec.Struct, rename="camel"):
    dev_eui: str
    device_name: str = ""
    tags: dict[str, str] = {}


class _ChirpStackUp(msgspec.Struct, rename="camel"):
    device_info: _DeviceInfo
    time: str | None = None
    object: dict[str, Any] | None = None
    rx_info: list[_Reception] = []


class _EndDeviceIds(msgspec.Struct):
    device_id: str
    dev_eui: str = ""


class _UplinkMessage(msgspec.Struct):
    decoded_payload: dict[str, Any] | None = None
    rx_metadata: list[_Reception] = []
    attributes: dict[str, str] = {}


class _ThingsStackUp(msgspec.Struct):
    end_device_ids: _EndDeviceIds
    uplink_message: _UplinkMessage
    received_at: str | None = None


_CHIRPSTACK = msgspec.json.Decoder(_ChirpStackUp)
_THINGS_STACK = msgspec.json.Decoder(_ThingsStackUp)


def decode_uplink(topic: str, message: bytes) -> dict[str, object] | None:
    """The frame inside an uplink, as the ``body`` that :func:`mliot.frames.parse_frame` checks; None where ``topic`` carries no uplinks.

    The frame's time is the device's own (``timestamp`` among its readings) or the network server's. Raises :class:`Rejected` with the
    reason.
    """
    match topic.split("/"):
        case ["application", _, "device", _, "event", "up"]:
            return _from_chirpstack(_decoded(_CHIRPSTACK, "ChirpStack", message))
        case ["v3", _, "devices", _, "up"]:
            return _from_things_stack(_decoded(_THINGS_STACK, "The Things Stack", message))
        case _:
            return None


def _from_chirpstack(up: _ChirpStackUp) -> dict[str, object]:
    if up.object is None:
        raise Rejected("object is missing: the device profile has no codec")
    info = up.device_info
    device = {"id": info.dev_eui, "name": info.device_name, "place_id": info.tags.get("place_id", "")}
    return _frame(device, "object", up.object, up.rx_info, up.time)


def _from_things_stack(up: _ThingsStackUp) -> dict[str, object]:
    ids, uplink = up.end_device_ids, up.uplink_message
    if uplink.decoded_payload is None:
        raise Rejected("decoded_payload is missing: the device has no payload formatter")
    place = uplink.attributes.get("place-id", "")  # its attributes may not have a "_" in their names
    device = {"id": ids.dev_eui, "name": ids.device_id, "place_id": place}
    return _frame(device, "decoded_payload", uplink.decoded_payload, uplink.rx_metadata, up.received_at)


def _decoded(decoder: msgspec.json.Decoder[T], server: str, message: bytes) -> T:
    if len(message) > MAX_BYTES:
        raise Rejected(f"message is {len(message)} bytes long; at most {MAX_BYTES} are allowed")
    try:
        return decoder.decode(message)
    except UnicodeDecodeError as error:
        raise Rejected(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Rejected(f"nested too deep; at most {MAX_DEPTH} levels are allowed") from error
    except msgspec.ValidationError as error:
        raise Rejected(f"not an uplink of {server}: {error}") from error
    except msgspec.DecodeError as error:
        raise Rejected(f"not JSON: {error}") from error


def _frame(
    device: Mapping[str, str], field: str, decoded: Mapping[str, Any], receptions: Sequence[_Reception], time: str | None
) -> dict[str, object]:
    payload: dict[str, object] = dict(_numbers(decoded))
    if not payload:
        raise Rejected(f"{field} holds no number")
    if receptions:
        best = max(receptions, key=lambda reception: reception.rssi)
        payload = {"rssi": best.rssi, "snr": best.snr, **payload}
    if time is not None:
        payload["date"] = time
    return {**device, "payload": payload}


def _numbers(decoded: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, float]]:
    if depth > MAX_DEPTH:
        raise Rejected(f"nested too deep; at most {MAX_DEPTH} levels are allowed")
    for name, value in decoded.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}_", depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


@dataclass(frozen=True)
class Uplink:
    """What a simulated LoRaWAN device sends: its readings in their units, when (ms), and how well a gateway heard it (dBm, dB)."""

    application: str
    device: str
    place_id: str
    at_ms: int
    readings: Mapping[str, float]
    counter: int
    rssi: int
    snr: float

    @property
    def eui(self) -> str:
        """The device's 64-bit id, 16 hex digits: made of its name."""
        return blake2b(self.device.encode(), digest_size=8).hexdigest()


def chirpstack_uplink(uplink: Uplink) -> tuple[str, bytes]:
    """Topic and message as ChirpStack v4 publishes ``uplink``."""
    application = UUID(bytes=blake2b(uplink.application.encode(), digest_size=16).digest())
    deduplication = UUID(bytes=blake2b(f"{uplink.device} {uplink.counter}".encode(), digest_size=16).digest())
    body = {
        "deduplicationId": str(deduplication),
        "time": _iso(uplink.at_ms),
        "deviceInfo": {
            "applicationId": str(application),
            "applicationName": uplink.application,
            "deviceName": uplink.device,
            "devEui": uplink.eui,
            "deviceClassEnabled": "CLASS_A",
            "tags": {"place_id": uplink.place_id},
        },
        "devAddr": uplink.eui[:8],
        "adr": True,
        "dr": 5,
        "fCnt": uplink.counter,
        "fPort": 1,
        "confirmed": False,
        "object": uplink.readings,
        "rxInfo": [
            {"gatewayId": "00000000000000aa", "uplinkId": uplink.counter, "rssi": uplink.rssi, "snr": uplink.snr, "crcStatus": "CRC_OK"}
        ],
        "txInfo": {"frequency": 868100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}}},
    }
    return f"application/{application}/device/{uplink.eui}/event/up", msgspec.json.encode(body)


def things_stack_uplink(uplink: Uplink) -> tuple[str, bytes]:
    """Topic and message as The Things Stack v3 publishes ``uplink``."""
    time = _iso(uplink.at_ms).replace("+00:00", "Z")
    body = {
        "end_device_ids": {
            "device_id": uplink.device,
            "application_ids": {"application_id": uplink.application},
            "dev_eui": uplink.eui.upper(),
            "dev_addr": uplink.eui[:8].upper(),
        },
        "received_at": time,
        "uplink_message": {
            "f_port": 1,
            "f_cnt": uplink.counter,
            "decoded_payload": uplink.readings,
            "rx_metadata": [
                {"gateway_ids": {"gateway_id": "gateway-1"}, "rssi": uplink.rssi, "channel_rssi": uplink.rssi, "snr": uplink.snr},
            ],
            "settings": {
                "data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7, "coding_rate": "4/5"}},
                "frequency": "868100000",
            },
            "received_at": time,
            "attributes": {"place-id": uplink.place_id},
        },
    }
    return f"v3/{uplink.application}/devices/{uplink.device}/up", msgspec.json.encode(body)


def _iso(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")
