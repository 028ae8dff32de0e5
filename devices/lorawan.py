"""Uplinks of simulated LoRaWAN devices, as network servers publish them over MQTT. Pure.

Shapes: ChirpStack v4, ``integration.UplinkEvent`` in its JSON form; The Things Stack v3, ``ApplicationUp`` with ``uplink_message``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from uuid import UUID

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
