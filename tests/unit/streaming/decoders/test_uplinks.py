"""Uplinks of network servers, beyond what the decoders' own examples say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.lorawan import Uplink, chirpstack_uplink, things_stack_uplink
from mliot.errors import Rejected
from mliot.frames import frame_id, parse_frame
from mliot.measurements import load_measurements
from streaming.intake.decoders import load_decoders

NOW_MS = 1_764_000_000_000
CHIRPSTACK = "application/7/device/24e124535d387374/event/up"
THINGS_STACK = "v3/farm@ttn/devices/rs261/up"
ENCODERS = [chirpstack_uplink, things_stack_uplink]
DECODERS = load_decoders()


def test_time_of_the_network_server_becomes_the_event_time_unless_the_device_sent_its_own() -> None:
    def event_ms(body: dict[str, Any]) -> int:
        message = json.dumps(body).encode()
        (read,) = DECODERS.bodies(CHIRPSTACK, message)
        return parse_frame(message, mqtt_topic="t", arrived_ms=NOW_MS, measurements={}, retention_ms=10**9, body=read).event_ms

    up = {"time": "2025-11-24T16:00:00.969123456+00:00", "deviceInfo": {"deviceName": "a", "devEui": "7"}, "object": {"batV": 5}}
    assert event_ms(up) == 1_764_000_000_969
    assert event_ms({**up, "object": {"batV": 5, "timestamp": 1_763_999_990}}) == 1_763_999_990_000


@pytest.mark.parametrize(
    ("topic", "message", "reason"),
    [
        (CHIRPSTACK, b"{", "not JSON"),
        (CHIRPSTACK, b"[]", "not an uplink of ChirpStack"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": 7}}', r"deviceInfo\.devEui"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7"}, "object": {"state": "open"}}', "object holds no number"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7"}, "object": {"t": 1e400}}', "out of range"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "7"}, "object": {"t": NaN}}', "not JSON"),
        (CHIRPSTACK, b'{"deviceInfo": {"devEui": "\xff"}}', "UTF-8|utf-8"),
        (CHIRPSTACK, b" " * (256 * 1024 + 1), "bytes long"),
        (CHIRPSTACK, b'{"deviceInfo":{"devEui":"7"},"object":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}", "nested too deep"),
        (CHIRPSTACK, b'{"deviceInfo":{"devEui":"7"},"object":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}", "nested too deep"),
        (THINGS_STACK, b"{}", "end_device_ids"),
    ],
)
def test_a_malformed_uplink_is_rejected_with_its_reason(topic: str, message: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        DECODERS.bodies(topic, message)


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
    (body,) = DECODERS.bodies(topic, message)
    frame = parse_frame(message, mqtt_topic=topic, arrived_ms=NOW_MS, measurements=load_measurements(), retention_ms=2 * 10**9, body=body)
    assert (frame.device, frame.place_id, frame.event_ms) == (uplink.device, uplink.place_id, uplink.at_ms)
    assert frame.payload == {"rssi": uplink.rssi, "snr": uplink.snr, **uplink.readings}
    assert frame.frame_id == frame_id(uplink.device, uplink.at_ms, message)
