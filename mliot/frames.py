"""A frame's bytes, as a device published them, to a checked :class:`~mliot.messages.Frame`: pure, one reason for each refusal."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from typing import Any

import msgspec

from mliot.errors import Rejected
from mliot.fields import END, MAX_NUMBER, NAME, is_name
from mliot.measurements import Measurement
from mliot.messages import Frame

MAX_BYTES = 256 * 1024
LATEST_AHEAD_MS = 5 * 60 * 1000
MAX_DEPTH = 32
MAX_MEASUREMENTS = 256
"""In one frame: each takes room in the store's row and work on every page that shows it."""
TOO_MANY_NEW = "too many new "
"""So begins the refusal of a frame that brings more new names than are allowed; the dashboard knows it by that."""
MEASUREMENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_TIMES = ("timestamp", "date")
_SECONDS_BELOW = 100_000_000_000
"""A ``timestamp`` below this is seconds (until the year 5138), from it on milliseconds (since 1973)."""


def frame_id(device: str, event_ms: int, message: bytes) -> str:
    """``{device}@{event ms}#{8 hex digits of BLAKE2b over the MQTT message's bytes}``: anybody who has the message can compute it."""
    return f"{device}@{event_ms}#{blake2b(message, digest_size=4).hexdigest()}"


def reached_ms(event_ms: int, arrived_ms: int) -> int:
    """How far a frame shows event time to have come: no further than its arrival, however far ahead its device's clock runs."""
    return min(event_ms, arrived_ms)


def frame_schema(measurements: Mapping[str, Measurement]) -> dict[str, Any]:
    """What :func:`parse_frame` takes, as a JSON schema (2020-12); not in it: that times lie between the retention and five minutes ahead of
    now, that a date is ISO 8601, and that the times are none of the measurements counted."""
    name, none = {"type": "string", "pattern": f"^{NAME}{END}"}, {"enum": [None, ""]}
    number = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
    known = {
        measurement: {
            "type": "number",
            "minimum": about.range[0],
            "maximum": about.range[1],
            "description": f"{about.about} in {about.unit}" if about.unit else about.about,
        }
        for measurement, about in measurements.items()
    }
    stamp = {**number, "exclusiveMinimum": 0, "description": "seconds or milliseconds since 1970-01-01 UTC"}
    return {
        "title": "DeviceFrame",
        "description": "One reading of one device. The device is its name, else its id; its place is its own where it has none. "
        "The time is the timestamp, else the date, else that of arrival.",
        "type": "object",
        "properties": {"place_id": {"anyOf": [name, none]}, "payload": _payload_schema(known, number, stamp)},
        "required": ["payload"],
        "anyOf": [
            {"required": ["name"], "properties": {"name": name}},
            {"required": ["id"], "properties": {"id": name, "name": none}},
        ],
    }


def _payload_schema(known: Mapping[str, Any], number: Mapping[str, Any], stamp: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": "Readings by measurement, at least one; those that are not listed are numbers too.",
        "type": "object",
        "properties": {"timestamp": True, "date": True, **known},
        "additionalProperties": number,
        "propertyNames": {"pattern": f"^{MEASUREMENT_NAME.pattern}{END}"},
        "maxProperties": MAX_MEASUREMENTS + len(_TIMES),
        "not": {"propertyNames": {"enum": list(_TIMES)}},
        "anyOf": [
            {"required": ["timestamp"], "properties": {"timestamp": stamp}},
            {
                "properties": {
                    "timestamp": {"type": "null"},
                    "date": {"type": ["string", "null"], "description": "ISO 8601, UTC by default"},
                }
            },
        ],
    }


def parse_frame(
    message: bytes,
    *,
    mqtt_topic: str,
    arrived_ms: int,
    measurements: Mapping[str, Measurement],
    retention_ms: int,
    body: Mapping[str, object] | None = None,
) -> Frame:
    """The frame in ``message``, whose bytes identify it. ``body`` is what a decoder made of it; without one it is that JSON itself.

    Raises :class:`Rejected` with the reason that goes beside the dead letter.
    """
    if body is None:
        body = json_object(message)
    device = _device(body)
    place = _place(body, device)
    payload = body.get("payload")
    if payload is None:
        raise Rejected("payload is missing")
    if not isinstance(payload, dict):
        raise Rejected(f"payload is {_kind(payload)}, not an object")
    event_ms = _event_ms(payload)
    undated = event_ms is None
    at = arrived_ms if event_ms is None else event_ms
    if at > arrived_ms + LATEST_AHEAD_MS:
        raise Rejected(f"time is {(at - arrived_ms) // 1000} s in the future; at most {LATEST_AHEAD_MS // 1000} s is allowed")
    if at < arrived_ms - retention_ms:
        raise Rejected(f"time is older than the retention of {retention_ms // 86_400_000} days")
    return Frame(
        frame_id=frame_id(device, at, message),
        device=device,
        place_id=place,
        event_ms=at,
        arrived_ms=arrived_ms,
        undated=undated,
        mqtt_topic=mqtt_topic,
        payload=_numbers(payload, measurements),
    )


def json_object(message: bytes) -> dict[str, object]:
    """The JSON object that ``message`` is. Raises :class:`Rejected` with the reason."""
    try:
        message.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"not UTF-8 at byte {error.start}") from error
    try:
        body = msgspec.json.decode(message)
    except RecursionError as error:
        raise Rejected(f"nested too deep; at most {MAX_DEPTH} levels are allowed") from error
    except msgspec.DecodeError as error:
        raise Rejected(_why_not_json(message, error)) from error
    if not isinstance(body, dict):
        raise Rejected(f"not an object but {_kind(body)}")
    return body


def _why_not_json(message: bytes, error: msgspec.DecodeError) -> str:
    """Python's ``json`` writes NaN and Infinity where a reading is missing, the commonest broken frame: named as such."""

    def refuse(constant: str) -> float:
        raise Rejected(f"{constant} is not a JSON number")

    try:
        json.loads(message, parse_constant=refuse)
    except Rejected as reason:
        return str(reason)
    except (ValueError, RecursionError):
        pass
    return f"not JSON: {error}"


def _device(body: Mapping[str, object]) -> str:
    field = "name" if body.get("name") not in (None, "") else "id"
    value = body.get(field)
    if value in (None, ""):
        raise Rejected("id is missing")
    return _name(field, value)


def _place(body: Mapping[str, object], device: str) -> str:
    value = body.get("place_id")
    return device if value in (None, "") else _name("place_id", value)


def _name(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise Rejected(f"{field} is {_kind(value)}, not a string")
    if not is_name(value):
        raise Rejected(f"{field} {_shown(value)} may hold only letters, digits and _ . : -, at most 64")
    return value


def _event_ms(payload: Mapping[str, object]) -> int | None:
    stamp = payload.get("timestamp")
    if stamp is not None:
        number = _number("timestamp", stamp)
        if number <= 0:
            raise Rejected("timestamp is not after 1970")
        return round(number * 1000) if number < _SECONDS_BELOW else round(number)
    date = payload.get("date")
    if date is None:
        return None
    if not isinstance(date, str):
        raise Rejected(f"date is {_kind(date)}, not a string")
    try:
        at = datetime.fromisoformat(date)
    except ValueError as error:
        raise Rejected(f"date {_shown(date)} is not ISO 8601") from error
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _numbers(payload: Mapping[str, object], measurements: Mapping[str, Measurement]) -> dict[str, float]:
    carried = len(payload) - sum(name in payload for name in _TIMES)
    if carried > MAX_MEASUREMENTS:
        raise Rejected(f"payload holds {carried} measurements; at most {MAX_MEASUREMENTS} are allowed")
    numbers: dict[str, float] = {}
    for name, value in payload.items():
        if name in _TIMES:
            continue
        known = measurements.get(name)
        if known is None and not (isinstance(name, str) and MEASUREMENT_NAME.fullmatch(name)):
            raise Rejected(f"measurement name {_shown(str(name))} may hold only letters, digits and _, at most 63")
        number = _number(name, value)
        if known is not None and not known.allows(number):
            raise Rejected(f"{name} {number:g} {known.unit} is outside its range {known.range[0]:g} to {known.range[1]:g}")
        numbers[name] = number
    if not numbers:
        raise Rejected("payload holds no measurement")
    return numbers


def _number(name: str, value: object) -> float:
    if type(value) is float:
        number = value
    elif type(value) is int:  # which True and False are not
        try:
            number = float(value)
        except OverflowError:  # a whole number of more than 308 digits
            number = float("inf")
    else:
        raise Rejected(f"{name} is {_kind(value)}, not a number")
    if not isfinite(number):
        raise Rejected(f"{name} is not finite")
    return number


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _shown(text: str) -> str:
    """``text`` quoted for a reason: control characters escaped, cut to 80 characters."""
    return ascii(text if len(text) <= 80 else text[:80] + "…")
