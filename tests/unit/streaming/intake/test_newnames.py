"""How many new names may come in an hour, by the subscription through which they come."""

from pathlib import Path

import msgspec
import pytest

from mliot.messages import Frame
from mliot.settings import Settings
from streaming.intake import newnames
from streaming.intake.decoders import load_decoders
from streaming.intake.newnames import NamesFile, NewNames
from streaming.runtime.effects import Received
from streaming.services import bridge

NOW = 1_764_000_000_000
DECLARED = {"temperature"}
LAKH = 100_000
DECODERS = load_decoders()


def frame(device: str = "a", place: str = "p", **payload: float) -> Frame:
    return Frame(frame_id="f", device=device, place_id=place, event_ms=NOW, arrived_ms=NOW, mqtt_topic="t", payload=payload or {"x": 1.0})


def test_a_hundred_thousand_devices_places_and_measurements_are_held_to_what_is_allowed() -> None:
    names = NewNames(2000)
    floods = {
        "device": (frame(f"d{n}", "p", temperature=1) for n in range(LAKH)),
        "place": (frame("d0", f"p{n}", temperature=1) for n in range(LAKH)),
        "measurement": (frame("d0", "p", **{f"m{n}": 1.0}) for n in range(LAKH)),
    }
    for kind, frames in floods.items():
        refused = [why for one in frames if (why := names.refusal(one, "door", DECLARED, NOW))]
        assert len(refused) == pytest.approx(LAKH - names.allowed(kind), abs=1)
        assert set(refused) == {
            f"too many new {kind} names came through door in this hour; {names.allowed(kind)} are allowed (MLIOT_NEW_NAMES)"
        }
    assert sum(map(len, names.recent.values())) <= 4202


def test_who_was_there_before_is_heard_beside_the_flood_and_so_is_another_door() -> None:
    names = NewNames(10)
    assert names.refusal(frame("honest"), "door", DECLARED, NOW) == ""
    assert [bool(names.refusal(frame(f"d{n}"), "door", DECLARED, NOW)) for n in range(20)].count(True) == 11
    assert names.refusal(frame("honest"), "door", DECLARED, NOW) == ""
    assert names.refusal(frame("newcomer"), "other door", DECLARED, NOW) == ""
    assert names.refusal(frame("newcomer-2"), "door", DECLARED, NOW + newnames.HOUR_MS) == ""


def test_what_is_refused_costs_nothing_of_what_is_allowed() -> None:
    names = NewNames(1)
    assert names.refusal(frame("a", "p", temperature=1), "door", DECLARED, NOW) == ""
    assert names.refusal(frame("b", "q", temperature=1), "door", DECLARED, NOW)
    assert not any("b" in known or "q" in known for known in names.recent.values())


def test_memory_is_bounded_and_what_is_heard_of_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newnames, "MAX_KNOWN", 100)
    names = NewNames(10**6)
    for n in range(1000):
        assert names.refusal(frame(f"d{n}", "p", temperature=1), "door", DECLARED, NOW) == ""
        assert names.refusal(frame("honest", "p", temperature=1), "door", DECLARED, NOW) == ""
    assert len(names.recent["device"] | names.older["device"]) <= 202
    names.a_hour = 0
    assert names.refusal(frame("honest", "p", temperature=1), "door", DECLARED, NOW) == ""


def test_a_fleet_that_is_there_already_is_not_new_after_a_restart(tmp_path: Path) -> None:
    file = NamesFile(Settings(_env_file=None, home=tmp_path))
    names = file.read(2)
    assert names.refusal(frame("a", "p", odd=1), "door", DECLARED, NOW) == ""
    file.save(names, NOW)
    assert not names.learnt
    again = NamesFile(Settings(_env_file=None, home=tmp_path)).read(0)
    assert again.refusal(frame("a", "p", odd=1), "door", DECLARED, NOW) == ""
    assert again.refusal(frame("b", "p", odd=1), "door", DECLARED, NOW)


def test_a_file_that_cannot_be_written_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "bridge").write_text("in the way")
    file, names = NamesFile(Settings(_env_file=None, home=tmp_path)), NewNames(5)
    names.refusal(frame(), "door", DECLARED, NOW)
    file.save(names, NOW)
    assert names.learnt
    (tmp_path / "bridge").unlink()
    file.save(names, NOW + 1)
    assert names.learnt  # not before its minute is over
    file.save(names, NOW + newnames.SAVE_EVERY_MS)
    assert not names.learnt


@pytest.mark.parametrize(
    ("topic", "door"),
    [
        ("iot-frames-sensor", "iot-frames-sensor"),
        ("iot/any-7/frames", "iot/+/frames"),
        ("application/1/device/2/event/up", "application/+/device/+/event/up"),
        ("v3/app@tenant/devices/x/up", "v3/+/devices/+/up"),
    ],
)
def test_a_door_is_the_subscription(topic: str, door: str) -> None:
    assert DECODERS.door(topic) == door


def test_the_bridge_keeps_what_it_refuses_whole_with_one_reason() -> None:
    def message(n: int) -> Received:
        body = msgspec.json.encode({"name": f"d{n}", "place_id": "p", "payload": {"temperature": 20, "timestamp": NOW}})
        return Received(f"iot/d{n}/frames", body, "", NOW, (0, n))

    batch = [message(n) for n in range(5)]
    out = bridge.decide(batch, decoders=DECODERS, measurements={}, retention_ms=10**12, now_ms=NOW, names=NewNames(3))
    assert out.counts == {"read": 5, "used": 3, "rejected": 2, "too_many_new": 2}
    letters = [msgspec.json.decode(emit.value) for emit in out.emits if emit.topic == "stream-deadletter"]
    assert len({letter["reason"] for letter in letters}) == 1
    assert len({letter["original_base64"] for letter in letters}) == 2
