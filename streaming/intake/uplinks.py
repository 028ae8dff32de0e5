"""What the uplinks of all LoRaWAN network servers have in common, for the decoders that take them. Pure.

What the device profile's codec made of the radio payload is free-form: its numbers are readings (nested ones are joined by ``_``, so that
Cayenne's ``{"temperatureSensor": {"1": 21.5}}`` becomes ``temperatureSensor_1``); its texts, booleans, nulls and lists are not, and are
left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from mliot.errors import Rejected
from mliot.frames import MAX_DEPTH

T = TypeVar("T")


class Reception(msgspec.Struct):
    """One gateway's reception: signal strength in dBm, signal to noise ratio in dB. Protobuf's JSON leaves zeros out."""

    rssi: float = 0.0
    snr: float = 0.0


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
