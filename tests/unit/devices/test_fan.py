from typing import Any

import msgspec
import pytest

from devices.controller import Held
from devices.fan import ALONE_AFTER_MS, REMEMBERED, Fan
from mliot.errors import Rejected

NOW_MS = 1_764_000_000_000


def id_of(digits: str) -> str:
    return f"room-1@{NOW_MS}#{digits:0>8}"


def order(command_id: str = "c1", **changed: Any) -> bytes:
    return msgspec.json.encode(
        {
            "command_id": id_of(command_id),
            "action": "fan_speed",
            "value": 2.0,
            "expires_ms": NOW_MS + 1000,
            "device": "f",
            "prediction_id": "p",
        }
        | changed
    )


def test_a_command_is_obeyed_and_acked() -> None:
    fan = Fan("room-1-fan")
    answer = fan.obey(order(), NOW_MS)
    assert msgspec.to_builtins(answer) == {"command_id": id_of("c1"), "device": "room-1-fan", "ok": True, "at_ms": NOW_MS, "reason": ""}
    assert fan.run(20.0, NOW_MS + 1) == 2
    assert (fan.command_topic, fan.ack_topic) == ("iot/room-1-fan/command", "iot/room-1-fan/command/ack")


def test_the_same_command_twice_is_obeyed_once_and_answered_twice() -> None:
    fan = Fan("f")
    first = fan.obey(order("a", value=3), NOW_MS)
    fan.obey(order("b", value=0), NOW_MS + 1)
    again = fan.obey(order("a", value=3), NOW_MS + 2)
    assert again == first
    assert fan.commanded == Held(0, NOW_MS + 1)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"expires_ms": NOW_MS}, "expired 0 ms ago"),
        ({"expires_ms": NOW_MS - 5000}, "expired 5000 ms ago"),
        ({"action": "explode"}, "unknown action 'explode'; fan_speed is known"),
        ({"value": 4}, "level 4 is not one of 0, 1, 2, 3"),
        ({"value": 1.5}, "level 1.5 is not one of 0, 1, 2, 3"),
        ({"value": -1}, "level -1 is not one of 0, 1, 2, 3"),
    ],
)
def test_what_it_may_not_do_is_refused_with_the_reason(changed: dict[str, Any], reason: str) -> None:
    fan = Fan("f")
    answer = fan.obey(order(**changed), NOW_MS)
    assert (answer.ok, answer.reason) == (False, reason)
    assert fan.commanded is None


@pytest.mark.parametrize("message", [b"", b"[]", b"\xff", b'{"command_id":"\xff"}', b'{"command_id": "c"}', order(value="2")])
def test_what_is_no_command_has_nobody_to_answer(message: bytes) -> None:
    with pytest.raises(Rejected, match="not a command"):
        Fan("f").obey(message, NOW_MS)


def test_left_alone_for_ten_minutes_it_goes_by_its_own_thermostat_again() -> None:
    fan = Fan("f")
    fan.obey(order(value=0), NOW_MS)
    assert fan.run(40.0, NOW_MS + ALONE_AFTER_MS - 1) == 0
    assert fan.run(40.0, NOW_MS + ALONE_AFTER_MS) == 3
    assert fan.run(10.0, NOW_MS + 2 * ALONE_AFTER_MS) == 0


def test_each_command_starts_the_ten_minutes_anew() -> None:
    fan = Fan("f")
    fan.obey(order("a"), NOW_MS)
    fan.obey(order("b", expires_ms=NOW_MS + ALONE_AFTER_MS), NOW_MS + ALONE_AFTER_MS - 1)
    assert fan.run(40.0, NOW_MS + ALONE_AFTER_MS + 1) == 2


def test_it_remembers_only_so_many_answers() -> None:
    fan = Fan("f")
    for number in range(REMEMBERED + 10):
        fan.obey(order(str(number)), NOW_MS)
    assert len(fan.answers) == REMEMBERED
