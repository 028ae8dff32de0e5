"""docs/asyncapi.yaml says what the message types say, and what bridge and devices take."""

import json
import re
from collections import Counter
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.fan import Fan
from devices.faults import Faults
from devices.places import RoomPlace
from mliot.devicemessages import ACK_TOPIC, COMMAND_TOPIC
from mliot.errors import Rejected
from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.messages import MESSAGES, Command, command_id
from streaming.asyncapi import document, rendered
from streaming.intake.decoders import load_decoders
from streaming.runtime.effects import Received
from streaming.services.bridge import parse_ack
from streaming.services.commands import wire

DOCUMENT = Path(__file__).parents[3] / "docs" / "asyncapi.yaml"


def example(kind):
    """A message of ``kind`` with a value for every field that must have one."""
    values = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            values[field.encode_name] = "x@1#00000000" if field.encode_name == "command_id" else _value(field.type)
    return msgspec.convert(values, kind)


def _value(annotation):
    info = msgspec.inspect.type_info(annotation)
    info = info.type if isinstance(info, msgspec.inspect.Metadata) else info
    match info:
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.DictType():
            return {"temperature": 20.5}
        case msgspec.inspect.StrType():
            return "x"
        case msgspec.inspect.IntType():
            return 1
        case msgspec.inspect.FloatType():
            return 1.5
        case msgspec.inspect.BoolType():
            return True
    raise AssertionError(f"no example of {annotation}")


def test_the_file_is_the_one_that_the_messages_make():
    assert DOCUMENT.read_text() == rendered(), "run: python -m streaming.asyncapi > docs/asyncapi.yaml"


def test_every_topic_has_its_channel_and_message():
    channels = yaml.safe_load(DOCUMENT.read_text())["channels"]
    assert {channel["address"]: list(channel["messages"]) for channel in channels.values()} == {
        **{kind.topic_name: [kind.__name__] for kind in MESSAGES},
        **{topic: ["DeviceFrame"] for topic in ("iot-frames-model", "iot-frames-sensor", "iot/{device}/frames")},
        "application/{application}/device/{device}/event/up": ["ChirpStackUplink"],
        "v3/{application}/devices/{device}/up": ["ThingsStackUplink"],
        COMMAND_TOPIC: ["DeviceCommand"],
        ACK_TOPIC: ["DeviceAck"],
    }


def test_every_reference_leads_somewhere():
    whole = document()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                at = whole
                for part in node["$ref"].removeprefix("#/").split("/"):
                    at = at[part]
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(whole)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_what_is_sent_fits_the_schema_and_what_lacks_a_field_does_not(kind):
    schema = {**document(), "$ref": f"#/components/schemas/{kind.__name__}"}
    sent = msgspec.json.decode(example(kind).encode())
    jsonschema.Draft202012Validator(schema).validate(sent)
    needed = document()["components"]["schemas"][kind.__name__]["required"]
    for name in needed:
        with pytest.raises(jsonschema.ValidationError, match=name):
            jsonschema.Draft202012Validator(schema).validate({key: value for key, value in sent.items() if key != name})


# What goes over MQTT. Left to the code, since no schema can say it: where a time lies beside now, that a date is ISO 8601, that no text
# holds a zero byte, that a whole number is written without a point.

NOW_MS = 1_764_000_000_000
KNOWN = load_measurements()
WHOLE = document()
SCHEMAS = {name: jsonschema.Draft202012Validator({**WHOLE, "$ref": f"#/components/schemas/{name}"})
           for name in ("DeviceFrame", "DeviceCommand", "DeviceAck", "ChirpStackUplink", "ThingsStackUplink")}  # fmt: skip
UNSAID = re.compile(r"time is |date .* is not ISO 8601|a text holds a zero byte|Expected `int.*got `float`")
GOOD_ID = command_id("room-1", NOW_MS, "p", "f")


def frame_taken(message: bytes) -> str:
    """Why the bridge refuses it; '' where it does not."""
    try:
        parse_frame(message, mqtt_topic="t", arrived_ms=NOW_MS, measurements=KNOWN, retention_ms=NOW_MS)
    except Rejected as reason:
        return str(reason)
    return ""


def ack_taken(message: bytes) -> str:
    try:
        parse_ack(Received("iot/room-1-fan/command/ack", message, "", NOW_MS, (1, 1)))
    except Rejected as reason:
        return str(reason)
    return ""


def command_taken(message: bytes) -> str:
    try:
        Fan("room-1-fan").obey(message, NOW_MS)
    except Rejected as reason:
        return str(reason)
    return ""


def agree(name: str, body: object, why_not: str) -> None:
    """The schema takes what the code takes, and refuses what it refuses."""
    fits = SCHEMAS[name].is_valid(body)
    assert fits == (not why_not) or (fits and UNSAID.search(why_not)), (body, why_not, fits)


DROP = object()
FRAME = {"id": "000000000", "name": "iot_sensor_0", "place_id": "000000000", "payload": {"temperature": 24.7, "timestamp": NOW_MS}}
ACK = {"command_id": GOOD_ID, "ok": True, "at_ms": NOW_MS, "reason": "why"}
ORDER = {"command_id": GOOD_ID, "action": "fan_speed", "value": 2, "expires_ms": NOW_MS + 1000, "decided_by": "p"}
anything = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-1e3, 1e3)
    | st.text(max_size=3)
    | st.just(DROP)
    | st.builds(list)
    | st.builds(dict)
)
names = st.sampled_from(["room-1", "a" * 64, "a" * 65, "", "room 1", "r\n", "ü", None, DROP]) | anything
numbers = st.integers(-100, 500) | st.sampled_from([-60, 120, -61, 121, 10**400, -(10**400), 1e18, True, "1", None, DROP])
stamps = st.sampled_from([NOW_MS // 1000, NOW_MS * 1.0, 0, -1, None, "now", True, DROP]) | anything
dates = st.sampled_from(["2025-11-24T16:00:00", "2025-11-24", "yesterday", None, 7, DROP]) | anything
measurements = st.sampled_from(["temperature", "soil", "Soil_2", "1a", "a b", "a" * 63, "a" * 64, "x\n"])
ids = st.sampled_from([GOOD_ID, "room-1@1#0000000", f"{GOOD_ID}\n", "", DROP]) | anything
times = st.sampled_from([NOW_MS, 0, -1, 253_402_300_799_999, 253_402_300_800_000, 1.5, None, DROP]) | anything
texts = st.sampled_from(["x" * 128, "x" * 129, "x" * 10_000, "x" * 10_001, "zero \0", DROP]) | anything


def changed(body, changes):
    """``body`` with each ``(path, value)`` of ``changes`` put in, or taken out."""
    changed = json.loads(json.dumps(body))
    for path, value in changes:
        at = changed
        for name in path[:-1]:
            at = at.get(name)
        if not isinstance(at, dict):
            continue
        at.pop(path[-1], None)
        if value is not DROP:
            at[path[-1]] = value
    return changed


def some(*changes):
    return st.lists(st.one_of([st.tuples(path if isinstance(path, st.SearchStrategy) else st.just(path), to) for path, to in changes]),
                    max_size=3)  # fmt: skip


bodies = st.builds(changed, st.just(FRAME), some(
    (("name",), names), (("id",), names), (("place_id",), names), (("payload",), anything), (("payload", "timestamp"), stamps),
    (("payload", "date"), dates), (measurements.map(lambda name: ("payload", name)), numbers),
))  # fmt: skip
acks = st.builds(changed, st.just(ACK), some(
    (("command_id",), ids), (("ok",), anything), (("at_ms",), times), (("reason",), texts), (("more",), anything)
))  # fmt: skip
orders = st.builds(changed, st.just(ORDER), some(
    (("command_id",), ids), (("action",), texts), (("value",), numbers), (("expires_ms",), times), (("decided_by",), texts),
    (("more",), anything),
))  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(bodies)
def test_the_bridge_takes_the_frames_that_fit_the_schema_and_no_others(body) -> None:
    agree("DeviceFrame", body, frame_taken(json.dumps(body).encode()))


@settings(max_examples=500, deadline=None)
@given(acks)
def test_the_bridge_takes_the_acks_that_fit_the_schema_and_no_others(body) -> None:
    agree("DeviceAck", body, ack_taken(json.dumps(body).encode()))


@settings(max_examples=500, deadline=None)
@given(orders)
def test_a_device_takes_the_commands_that_fit_the_schema_and_no_others(body) -> None:
    agree("DeviceCommand", body, command_taken(json.dumps(body).encode()))


def test_the_documented_frame_fits_and_each_thing_wrong_with_it_does_not() -> None:
    """So that the property above cannot hold by refusing all, or by taking all."""
    agree("DeviceFrame", FRAME, "")
    wrong = [
        {"name": "a b"},
        {"place_id": 7},
        {"payload": {"temperature": 121}},
        {"payload": {"timestamp": NOW_MS}},
        {"payload": {"a b": 1}},
    ]
    for change in wrong:
        message = json.dumps(FRAME | change).encode()
        assert frame_taken(message)
        agree("DeviceFrame", FRAME | change, frame_taken(message))


def test_what_the_simulated_fleet_says_and_is_told_fits() -> None:
    decoders = load_decoders()
    seen = Counter()
    for place in (RoomPlace("room-1", 1, Faults(1), number=1), RoomPlace("room-2", 1, Faults(1), number=2)):
        for outgoing in place.frames(NOW_MS, NOW_MS + 3_600_000, 60_000):
            (taker,) = (each for each in decoders if any(one.matches(outgoing.topic.split("/")) for one in each.filters))
            name = taker.message.__name__ if taker.message else "DeviceFrame"
            SCHEMAS[name].validate(json.loads(outgoing.message))
            seen[name] += 1
    assert seen.keys() == {"DeviceFrame", "ChirpStackUplink", "ThingsStackUplink"}
    assert min(seen.values()) > 30
    ordered = Command(command_id=GOOD_ID, state="queued", device="room-1-fan", place_id="room-1", use_case="fan_speed", prediction_id="p",
                      action="fan_speed", value=2.0, decided_ms=NOW_MS, expires_ms=NOW_MS + 90_000, at_ms=NOW_MS)  # fmt: skip
    message = wire(ordered)
    SCHEMAS["DeviceCommand"].validate(json.loads(message.payload))
    fan = Fan("room-1-fan")
    assert message.topic == fan.command_topic
    answer = fan.obey(message.payload, NOW_MS)
    assert answer.ok
    SCHEMAS["DeviceAck"].validate(json.loads(msgspec.json.encode(answer)))
    assert parse_ack(Received(fan.ack_topic, msgspec.json.encode(answer), "", NOW_MS, (1, 1))).command_id == GOOD_ID
