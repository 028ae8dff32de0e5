import itertools
from collections import Counter

import msgspec
import pytest

from devices.faults import Faults
from devices.outgoing import Outgoing
from devices.places import REFERENCE_PLACE, RoomPlace, rooms
from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.messages import Frame
from streaming.intake.decoders import load_decoders

START_MS = 1_764_000_000_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
KNOWN = load_measurements()
DECODERS = load_decoders()


def parsed(outgoing: Outgoing) -> Frame:
    """The frame as the bridge makes it."""
    (body,) = DECODERS.bodies(outgoing.topic, outgoing.message)
    return parse_frame(
        outgoing.message,
        mqtt_topic=outgoing.topic,
        arrived_ms=outgoing.event_ms,
        measurements=KNOWN,
        retention_ms=10**9,
        body=body,
    )


def hours(place: RoomPlace, count: float, period_ms: int = MINUTE_MS) -> list[Outgoing]:
    return list(place.frames(START_MS, START_MS + round(count * HOUR_MS), period_ms))


def test_every_device_speaks_once_a_period_in_time_order_and_is_understood() -> None:
    for place in rooms(3, seed=1, faults=Faults(1)):
        sent = hours(place, 2)
        frames = [parsed(outgoing) for outgoing in sent]
        assert [frame.frame_id for frame in frames] == [outgoing.id for outgoing in sent]
        assert [frame.event_ms for frame in frames] == sorted(outgoing.event_ms for outgoing in sent)
        assert {frame.place_id for frame in frames} == {place.place_id}
        assert set(Counter(frame.device for frame in frames).values()) == {120}


def test_devices_may_speak_at_the_same_moment() -> None:
    for place in rooms(3, seed=1, faults=Faults(1)):
        assert set(Counter(parsed(outgoing).device for outgoing in place.frames(START_MS, START_MS + 3, 1)).values()) == {3}


def test_the_reference_sensor_sends_what_devices_of_this_family_send() -> None:
    outgoing = hours(rooms(1, seed=1, faults=Faults(1))[0], 0.05)[0]
    body = msgspec.json.decode(outgoing.message)
    assert outgoing.topic == "iot-frames-model"
    assert (body["id"], body["name"], body["place_id"]) == ("000000000", "iot_sensor_0", "000000000")
    assert list(body["payload"]) == ["temperature", "humidity", "pressure", "luminosity", "fan_speed", "timestamp", "date"]


def test_rooms_have_an_air_sensor_a_lorawan_light_sensor_and_a_fan() -> None:
    topics = [{outgoing.topic.split("/")[0] for outgoing in hours(place, 0.1)} for place in rooms(3, seed=1, faults=Faults(1))]
    assert topics == [{"iot-frames-model"}, {"iot-frames-sensor", "application", "iot"}, {"iot-frames-sensor", "v3", "iot"}]


def test_spans_join_without_gap_or_double() -> None:
    whole = [outgoing.id for outgoing in hours(RoomPlace("room-1", 1, Faults(1), number=1), 1)]
    pieces = RoomPlace("room-1", 1, Faults(1), number=1)
    cuts = [START_MS, START_MS + 1, START_MS + 61_234, START_MS + 61_234, START_MS + 30 * MINUTE_MS, START_MS + HOUR_MS]
    assert [o.id for a, b in itertools.pairwise(cuts) for o in pieces.frames(a, b, MINUTE_MS)] == whole


def test_the_same_seed_is_the_same_history() -> None:
    first, second, other = (hours(RoomPlace(REFERENCE_PLACE, seed, Faults(seed), number=0), 0.5) for seed in (1, 1, 2))
    assert first == second
    assert first != other


@pytest.mark.parametrize(("seed", "offset_h"), [(1, 0), (2, 7), (3, 13)])
def test_all_levels_of_the_label_occur_often_and_change_now_and_then(seed: int, offset_h: int) -> None:
    place = RoomPlace(REFERENCE_PLACE, seed, Faults(seed), number=0)
    start = START_MS + offset_h * HOUR_MS
    levels = [int(parsed(outgoing).payload["fan_speed"]) for outgoing in place.frames(start, start + 48 * HOUR_MS, MINUTE_MS)]
    share = Counter(levels)
    assert min(share[level] / len(levels) for level in range(4)) > 0.08
    changes = sum(a != b for a, b in itertools.pairwise(levels))
    assert 2 < changes / 48 < 12, "changes an hour"


def test_an_obeyed_command_cools_the_room() -> None:
    def temperature_after(level: int) -> float:
        place = RoomPlace("room-1", 1, Faults(1), number=1)
        noon = START_MS // (24 * HOUR_MS) * 24 * HOUR_MS + 12 * HOUR_MS
        place.advance(noon)
        for minute in range(60):
            now_ms = noon + minute * MINUTE_MS
            order = {"command_id": f"room-1@1#{minute:08}", "action": "fan_speed", "value": level, "expires_ms": now_ms + 1000}
            assert place.fan.obey(msgspec.json.encode(order), now_ms).ok
            place.advance(now_ms + MINUTE_MS)
            assert place.level == level
        return place.state.temperature

    assert temperature_after(3) < temperature_after(1) - 1 < temperature_after(0) - 2


def test_the_reference_room_takes_advice_and_keeps_its_own_level() -> None:
    advised, left_alone = (RoomPlace(REFERENCE_PLACE, 1, Faults(1), number=0) for _ in range(2))
    for place in (advised, left_alone):
        place.advance(START_MS)
    order = {"command_id": "room-1@1#0000000c", "action": "fan_speed", "value": (advised.level + 2) % 4, "expires_ms": START_MS + 1000}
    assert advised.fan.obey(msgspec.json.encode(order), START_MS).ok
    for place in (advised, left_alone):
        place.advance(START_MS + MINUTE_MS)
    assert advised.level == left_alone.level


def test_faults_leave_the_label_alone() -> None:
    def labels(faults: Faults) -> dict[int, float]:
        place = RoomPlace(REFERENCE_PLACE, 1, faults, number=0)
        return {o.event_ms: parsed(o).payload["fan_speed"] for o in hours(place, 24) if not o.broken}

    faulty = labels(Faults(1, frozenset({"stuck", "spike", "drift", "gap", "bad_json"})))
    true = labels(Faults(1))
    assert len(faulty) < len(true)
    assert all(true[at_ms] == level for at_ms, level in faulty.items())
