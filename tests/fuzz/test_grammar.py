"""Frames by grammar: what Hypothesis makes of the documented shapes, which no mutation of bytes would come upon."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mliot.measurements import load_measurements
from tests.fuzz import services
from tests.fuzz.corpus import Input
from tests.fuzz.mutator import NOW_MS

TOPICS = ("iot-frames-sensor", "application/7/device/24e1/event/up", "v3/farm/devices/rs261/up", "iot/room-1-fan/command/ack")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.from_regex(r"[A-Za-z0-9_.:\-]{1,64}", fullmatch=True) | st.text(max_size=70)
times = st.integers(NOW_MS - 10**10, NOW_MS + 400_000) | st.floats(1e9, 2e9) | st.integers() | anything
dates = st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat()) | st.text(max_size=30)
readings = st.dictionaries(
    st.sampled_from(sorted(load_measurements())) | names, st.floats(-100, 1000) | st.integers() | anything, max_size=5
)
payloads = st.tuples(readings, st.fixed_dictionaries({}, optional={"timestamp": times, "date": dates})).map(
    lambda parts: parts[0] | parts[1]
)


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: value | anything for name, value in fields.items()})


frames = maybe(id=names, name=names, place_id=names, payload=payloads)
chirpstack = maybe(
    deviceInfo=maybe(devEui=names, deviceName=names, tags=maybe(place_id=names)),
    time=dates,
    object=payloads,
    rxInfo=st.lists(maybe(rssi=st.floats(), snr=st.floats())),
)
things_stack = maybe(
    end_device_ids=maybe(device_id=names, dev_eui=names),
    received_at=dates,
    uplink_message=maybe(
        decoded_payload=payloads, rx_metadata=st.lists(maybe(rssi=st.integers())), attributes=maybe(**{"place-id": names})
    ),
)
acks = maybe(
    command_id=st.from_regex(r"[a-z0-9-]{1,20}@[0-9]{1,15}#[0-9a-f]{8}", fullmatch=True),
    ok=st.booleans(),
    at_ms=times,
    reason=st.text(),
)


@settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(frames | chirpstack | things_stack | acks, min_size=1, max_size=4), st.booleans())
def test_every_message_is_one_record(bodies: list[dict[str, Any]], ascii_only: bool) -> None:
    written = [json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for body in bodies]
    fates, _ = services.bridged([Input(topic, data) for data in written for topic in TOPICS])
    assert sum(fates.values()) == 4 * len(bodies)
