import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.errors import Rejected
from mliot.frames import frame_id, parse_frame
from mliot.lorawan import Uplink, chirpstack_uplink, decode_uplink, things_stack_uplink
from mliot.measurements import load_measurements

NOW_MS = 1_764_000_000_000
CHIRPSTACK = "application/7/device/24e124535d387374/event/up"
THINGS_STACK = "v3/farm@ttn/devices/rs261/up"
ENCODERS = [chirpstack_uplink, things_stack_uplink]

# As network servers send them (cut to what matters; the odd fields are real ones).
CHIRPSTACK_UP = {
    "deduplicationId": "44557e00-533f-4806-97e3-b49e1ac1ef61",
    "time": "2025-11-24T16:00:00.969123456+00:00",
    "deviceInfo": {"tenantId": "52f14cd4", "deviceName": "oyster-f300", "devEui": "70b3d5705000f300", "tags": {"place_id": "yard"}},
    "fCnt": 3,
    "object": {"batV": 5.175, "type": "position", "fixFailed": True, "manDown": None, "temperatureSensor": {"1": 21.5}, "path": [1, 2]},
    "rxInfo": [{"gatewayId": "aa", "rssi": -91, "snr": -3.5}, {"gatewayId": "bb", "rssi": -31, "snr": 13.0}],
}
THINGS_STACK_UP = {
    "end_device_ids": {"device_id": "rs261", "application_ids": {"application_id": "farm"}, "dev_eui": "0025CA00000017C2"},
    "received_at": "2025-11-24T16:00:00.742127657Z",
    "uplink_message": {
        "f_port": 1,
        "frm_payload": "AMQAFdQ=",
        "decoded_payload": {"temperature": 21.83, "battery_status": "Good"},
        "rx_metadata": [{"gateway_ids": {"gateway_id": "g"}, "rssi": -69, "channel_rssi": -69, "snr": 8.25}],
    },
}


def decoded(topic: str, body: object) -> dict[str, Any]:
    frame = decode_uplink(topic, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert frame is not None
    return frame


def test_chirpstack_names_the_device_its_place_and_the_best_gateway() -> None:
    assert decoded(CHIRPSTACK, CHIRPSTACK_UP) == {
        "id": "70b3d5705000f300",
        "name": "oyster-f300",
        "place_id": "yard",
        "payload": {"rssi": -31, "snr": 13, "batV": 5.175, "temperatureSensor_1": 21.5, "date": "2025-11-24T16:00:00.969123456+00:00"},
    }


def test_the_things_stack_takes_the_device_id_and_has_no_place_unless_an_attribute_says_so() -> None:
    frame = decoded(THINGS_STACK, THINGS_STACK_UP)
    assert (frame["name"], frame["place_id"], frame["payload"]["temperature"]) == ("rs261", "", 21.83)
    assert frame["payload"]["snr"] == 8.25
    placed: dict[str, Any] = json.loads(json.dumps(THINGS_STACK_UP))
    placed["uplink_message"]["attributes"] = {"place-id": "barn"}
    assert decoded(THINGS_STACK, placed)["place_id"] == "barn"


def test_time_of_the_network_server_becomes_the_event_time_unless_the_device_sent_its_own() -> None:
    def event_ms(body: dict[str, Any]) -> int:
        message = json.dumps(body).encode()
        read = decode_uplink(CHIRPSTACK, message)
        return parse_frame(message, mqtt_topic="t", arrived_ms=NOW_MS, measurements={}, retention_ms=10**9, body=read).event_ms

    assert event_ms(CHIRPSTACK_UP) == 1_764_000_000_969
    assert event_ms({**CHIRPSTACK_UP, "object": {"batV": 5, "timestamp": 1_763_999_990}}) == 1_763_999_990_000


@pytest.mark.parametrize(
    "topic",
    [
        "iot-frames-model",
        "application/7/device/24e1/event/join",
        "application/7/device/24e1/event/up/x",
        "v3/a/devices/b/join",
        "v3/a/devices/b",
    ],
)
def test_other_topics_are_no_uplinks(topic: str) -> None:
    assert decode_uplink(topic, b"not even JSON") is None


@pytest.mark.parametrize(
    ("topic", "message", "reason"),
    [
        (CHIRPSTACK, b"{", "not JSON"),
        (CHIRPSTACK, b"[]", "not an uplink of ChirpStack"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": 7}}', r"deviceInfo\.devEui"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7", "deviceName": "a"}}', "object is missing"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7"}, "object": {"state": "open"}}', "object holds no number"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7"}, "object": {"t": 1e400}}', "out of range"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7"}, "object": {"t": NaN}}', "not JSON"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "\xff"}}', "UTF-8|utf-8"),
        (CHIRPSTACK, b" " * (256 * 1024 + 1), "bytes long"),
        (CHIRPSTACK, b'{"deviceInfo":{"devEui":"7"},"object":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}", "nested too deep"),
        (CHIRPSTACK, b'{"deviceInfo":{"devEui":"7"},"object":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}", "nested too deep"),
        (THINGS_STACK, b"{}", "end_device_ids"),
        (THINGS_STACK, b'{"end_device_ids":{"device_id":"a"},"uplink_message":{}}', "decoded_payload is missing"),
    ],
)
def test_a_malformed_uplink_is_rejected_with_its_reason(topic: str, message: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        decode_uplink(topic, message)


uplinks = st.builds(
    Uplink,
    application=st.just("mliot"),
    device=st.from_regex(r"[a-z0-9](-?[a-z0-9]){2,30}", fullmatch=True),
    place_id=st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    at_ms=st.integers(NOW_MS - 10**9, NOW_MS),
    readings=st.dictionaries(
        st.sampled_from(["temperature", "luminosity", "pressure_kpa", "door"]),
        st.floats(-50, 50).map(abs) | st.integers(0, 100),
        min_size=1,
    ),
    counter=st.integers(0, 2**32 - 1),
    rssi=st.integers(-130, -20),
    snr=st.floats(-20, 15),
)


@given(uplinks, st.sampled_from(ENCODERS))
def test_what_a_simulated_device_sends_is_what_the_platform_reads(uplink: Uplink, encode: Any) -> None:
    topic, message = encode(uplink)
    body = decode_uplink(topic, message)
    assert body is not None
    frame = parse_frame(message, mqtt_topic=topic, arrived_ms=NOW_MS, measurements=load_measurements(), retention_ms=2 * 10**9, body=body)
    assert (frame.device, frame.place_id, frame.event_ms) == (uplink.device, uplink.place_id, uplink.at_ms)
    assert frame.payload == {"rssi": uplink.rssi, "snr": uplink.snr, **uplink.readings}
    assert frame.frame_id == frame_id(uplink.device, uplink.at_ms, message)
