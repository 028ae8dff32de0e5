"""Every refusal has a reason of its own, and whatever bytes come, the answer is a frame or a reason."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.errors import Rejected
from mliot.frames import LATEST_AHEAD_MS, MAX_MEASUREMENTS, frame_id, parse_frame, reached_ms
from mliot.measurements import load_measurements

MEASUREMENTS = load_measurements()
NOW = 1_764_000_000_000
DAY = 86_400_000


def parse(message: bytes):
    return parse_frame(message, mqtt_topic="iot-frames-model", arrived_ms=NOW, measurements=MEASUREMENTS, retention_ms=30 * DAY)


def frame(**changes) -> bytes:
    body = {"id": "000000000", "name": "iot_sensor_0", "place_id": "000000000"} | changes
    body.setdefault("payload", {"temperature": 24.7, "timestamp": NOW})
    return json.dumps(body).encode()


def payload(**values) -> bytes:
    return frame(payload={"timestamp": NOW} | values)


def test_the_documented_frame_is_read_whole() -> None:
    message = (
        b'{"id":"000000000","name":"iot_sensor_0","place_id":"000000000","payload":{"temperature":24.7,"humidity":61,"pressure":101325,'
        b'"fan_speed":1,"timestamp":1764000000000,"date":"2025-11-24T16:00:00"}}'
    )
    read = parse(message)
    assert (read.device, read.place_id, read.event_ms, read.undated) == ("iot_sensor_0", "000000000", NOW, False)
    assert read.payload == {"temperature": 24.7, "humidity": 61.0, "pressure": 101325.0, "fan_speed": 1.0}
    assert read.frame_id == frame_id("iot_sensor_0", NOW, message)


def test_a_redelivery_has_the_same_id_and_another_reading_has_not() -> None:
    assert parse(payload(temperature=20)).frame_id == parse(payload(temperature=20)).frame_id
    assert parse(payload(temperature=20)).frame_id != parse(payload(temperature=21)).frame_id


def test_as_many_measurements_as_are_allowed_are_read_beside_the_time() -> None:
    assert len(parse(payload(date="2025-11-24", **{f"m{n}": n for n in range(MAX_MEASUREMENTS)})).payload) == MAX_MEASUREMENTS


REFUSED = {
    "not JSON": (b"{nonsense", "not JSON"),
    "empty": (b"", "not JSON"),
    "a list": (b"[1]", "not an object but a list"),
    "a number": (b"7", "not an object but a number"),
    "no id": (json.dumps({"payload": {"temperature": 1}}).encode(), "id is missing"),
    "no payload": (json.dumps({"id": "a"}).encode(), "payload is missing"),
    "payload is no object": (frame(payload=[1]), "payload is a list"),
    "no measurement": (payload(), "holds no measurement"),
    "too many measurements": (
        payload(**{f"m{n}": n for n in range(MAX_MEASUREMENTS + 1)}),
        f"payload holds {MAX_MEASUREMENTS + 1} measurements; at most {MAX_MEASUREMENTS} are allowed",
    ),
    "a string for a number": (payload(temperature="24.7"), "temperature is a string"),
    "a boolean for a number": (payload(temperature=True), "temperature is a boolean"),
    "null for a number": (payload(temperature=None), "temperature is null"),
    "an object for a number": (payload(temperature={}), "temperature is an object"),
    "NaN": (b'{"id":"a","payload":{"temperature":NaN}}', "NaN is not a JSON number"),
    "infinity": (b'{"id":"a","payload":{"temperature":-Infinity}}', "-Infinity is not a JSON number"),
    "1e400": (b'{"id":"a","payload":{"temperature":1e400}}', "out of range"),
    "a number of 400 digits": (b'{"id":"a","payload":{"x":1' + b"0" * 400 + b"}}", "x is not finite"),
    "implausible": (payload(temperature=500), "temperature 500 °C is outside its range -60 to 120"),
    "future": (payload(temperature=1).replace(str(NOW).encode(), str(NOW + LATEST_AHEAD_MS + 1000).encode()), "in the future"),
    "too old": (payload(temperature=1).replace(str(NOW).encode(), str(NOW - 31 * DAY).encode()), "older than the retention of 30 days"),
    "time before 1970": (frame(payload={"timestamp": -5, "temperature": 1}), "not after 1970"),
    "time is a string": (frame(payload={"timestamp": "now", "temperature": 1}), "timestamp is a string"),
    "date is not a date": (frame(payload={"date": "yesterday", "temperature": 1}), "is not ISO 8601"),
    "10,000 deep": (b'{"id":"a","payload":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deep"),
    "not UTF-8": (b'{"id":"\xff\xfe"}', "not UTF-8 at byte 7"),
    "slash in the name": (frame(name="a/b"), "may hold only letters"),
    "wildcard in the name": (frame(name="a#"), "may hold only letters"),
    "SQL in the name": (frame(name="x'; drop table frame;--"), "may hold only letters"),
    "HTML in the name": (frame(name="<script>alert(1)</script>"), "may hold only letters"),
    "name of 65 letters": (frame(name="a" * 65), "at most 64"),
    "name is a number": (frame(name=7), "name is a number"),
    "place with a slash": (frame(place_id="a/b"), "place_id"),
    "measurement with a quote": (payload(**{'a"b': 1}), "measurement name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_refusal_says_why(case: str) -> None:
    message, reason = REFUSED[case]
    with pytest.raises(Rejected, match=re.escape(reason)) as refusal:
        parse(message)
    assert len(str(refusal.value)) < 300
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("given_payload", "event_ms"),
    [
        ({"timestamp": 1_764_000_000}, NOW),
        ({"timestamp": 1_764_000_000.5}, NOW + 500),
        ({"timestamp": NOW, "date": "2001-01-01"}, NOW),
        ({"date": "2025-11-24T16:00:00"}, NOW),
        ({"date": "2025-11-24T17:00:00+01:00"}, NOW),
        ({"date": "2025-11-24T16:00:00Z"}, NOW),
    ],
)
def test_event_time(given_payload: dict, event_ms: int) -> None:
    assert parse(frame(payload=given_payload | {"temperature": 1})).event_ms == event_ms


def test_a_frame_without_a_time_is_undated() -> None:
    read = parse(frame(payload={"temperature": 1}))
    assert (read.undated, read.event_ms) == (True, NOW)


def test_unknown_measurements_are_kept() -> None:
    assert parse(payload(soil_moisture=12.5)).payload == {"soil_moisture": 12.5}


def test_a_frame_without_a_place_stands_for_itself() -> None:
    assert parse(frame(place_id="")).place_id == "iot_sensor_0"


@given(st.binary(max_size=400))
def test_any_bytes_are_a_frame_or_a_reason(message: bytes) -> None:
    try:
        assert parse(message).payload
    except Rejected as refusal:
        reason = str(refusal)
        assert reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["id", "name", "place_id", "payload"]), json_values), json_values, json_values)
def test_any_object_is_a_frame_of_finite_numbers_or_a_reason(body: dict, stamp: object, value: object) -> None:
    body.setdefault("payload", {"timestamp": stamp, "temperature": value, "date": stamp})
    body.setdefault("id", "device-1")
    try:
        read = parse(json.dumps(body).encode("utf-8", "surrogatepass"))
    except Rejected as refusal:
        reason = str(refusal)
        assert reason
    else:
        assert all(math.isfinite(number) for number in read.payload.values())
        assert NOW - 30 * DAY <= read.event_ms <= NOW + LATEST_AHEAD_MS


def test_a_frame_shows_event_time_to_have_come_no_further_than_its_arrival() -> None:
    assert [reached_ms(event_ms, 1_000) for event_ms in (900, 1_000, 300_000)] == [900, 1_000, 1_000]
