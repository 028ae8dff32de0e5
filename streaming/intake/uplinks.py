"""What the uplinks of all LoRaWAN network servers have in common, for the decoders that take them. Pure.

What the device profile's codec made of the radio payload is free-form: its numbers are readings (nested ones are joined by ``_``, so that
Cayenne's ``{"temperatureSensor": {"1": 21.5}}`` becomes ``temperatureSensor_1``); its texts, booleans, nulls and lists are not, and are
left out.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from mliot.errors import Rejected
from mliot.frames import MAX_DEPTH

MAX_RADIO_PAYLOAD = 255
"""Bytes: the longest physical frame of LoRa."""
T = TypeVar("T")


class Reception(msgspec.Struct):
    """One gateway's reception: signal strength in dBm, signal to noise ratio in dB. Protobuf's JSON leaves zeros out."""

    rssi: float = 0.0
    snr: float = 0.0


@dataclass(frozen=True)
class Undecoded:
    """An uplink that its network server did not decode: a maker's codec is to be asked what it holds.

    ``names`` are what the codec may be filed under, the most special first; ``device`` is as for :func:`frame`; ``without_codec`` says what
    is missing where there is no codec either.
    """

    names: tuple[str, ...]
    port: int
    payload: bytes
    device: Mapping[str, str]
    receptions: Sequence[Reception]
    time: str | None
    without_codec: str

    @property
    def given(self) -> str:
        """The input of ``decodeUplink`` as JSON; the time is of ISO 8601."""
        return msgspec.json.encode({"bytes": list(self.payload), "fPort": self.port, "recvTime": self.time}).decode()

    def body(self, readings: Mapping[str, Any]) -> dict[str, object]:
        """The frame, with what the codec found. Raises :class:`Rejected` where there is no number in it."""
        return frame(self.device, "the codec's data", readings, self.receptions, self.time)


def radio_payload(field: str, text: str) -> bytes:
    """The bytes that a network server gives in base64. Raises :class:`Rejected` where they are none, or too many."""
    try:
        payload = b64decode(text, validate=True)
    except ValueError as error:
        raise Rejected(f"{field} is not base64") from error
    if len(payload) > MAX_RADIO_PAYLOAD:
        raise Rejected(f"{field} holds {len(payload)} bytes; at most {MAX_RADIO_PAYLOAD} are allowed")
    return payload


def decoded(decoder: msgspec.json.Decoder[T], server: str, message: bytes) -> T:
    """The uplink in ``message``. Raises :class:`Rejected` with the reason."""
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


def frame(
    device: Mapping[str, str], field: str, readings: Mapping[str, Any], receptions: Sequence[Reception], time: str | None
) -> dict[str, object]:
    """The frame of ``device`` (id, name, place_id): what ``field`` held, and how well the best gateway heard it.

    Its time is the device's own (``timestamp`` among the readings) or ``time``, the network server's. Raises :class:`Rejected` where there
    is no number in it.
    """
    payload: dict[str, object] = dict(_numbers(readings))
    if not payload:
        raise Rejected(f"{field} holds no number")
    if receptions:
        best = max(receptions, key=lambda reception: reception.rssi)
        payload = {"rssi": best.rssi, "snr": best.snr, **payload}
    if time is not None:
        payload["date"] = time
    return {**device, "payload": payload}


def _numbers(readings: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, float]]:
    if depth > MAX_DEPTH:
        raise Rejected(f"nested too deep; at most {MAX_DEPTH} levels are allowed")
    for name, value in readings.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}_", depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
