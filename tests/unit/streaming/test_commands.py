"""When a prediction becomes a command, and what becomes of the command."""

import json
from datetime import timedelta

import msgspec
import pytest

from mliot.messages import Ack, Command, Prediction
from mliot.usecase import Action, load_use_cases
from streaming.commands import Ledger, decide, expired, fold, judge, moved, order, wire
from streaming.ports import Record

NOW = 1_764_000_000_000
ACTION = Action(
    action="fan_speed", dwell=timedelta(minutes=2), time_to_live=timedelta(seconds=90), per_hour=3, stalest=timedelta(minutes=3)
)
DEVICE = "room-1-fan"
USE_CASES = load_use_cases()


def prediction(value: float = 2.0, at_ms: int = NOW - 1000, **changes) -> Prediction:
    fields = {
        "prediction_id": f"place_1m:room-1@{at_ms}+fan_speed+v1",
        "use_case": "fan_speed",
        "feature_id": f"place_1m:room-1@{at_ms}",
        "model_version": "v1",
        "feature_version": "f1",
        "key": "room-1",
        "place_id": "room-1",
        "at_ms": at_ms,
        "for_ms": at_ms,
        "made_ms": at_ms,
        "value": value,
    }
    return Prediction(**fields | changes)


def record(message, topic: str | None = None, offset: int = 0) -> Record:
    return Record(topic or message.topic_name, 0, offset, NOW, "room-1", message.encode(), "")


def queued(value: float, at_ms: int) -> Command:
    return order(prediction(value, at_ms), ACTION, DEVICE, at_ms)


def ledger(*commands: Command) -> Ledger:
    kept = Ledger()
    for command in commands:
        kept.apply(command)
    return kept


@pytest.mark.parametrize(
    ("held", "asked", "why"),
    [
        (ledger(), prediction(), ""),
        (ledger(), prediction(shadow=True), "shadow"),
        (ledger(), prediction(at_ms=NOW - 180_001), "stale"),
        (ledger(), prediction(at_ms=NOW - 180_000), ""),
        (ledger(queued(1.0, NOW - 119_999)), prediction(2.0), "dwell"),
        (ledger(queued(1.0, NOW - 120_000)), prediction(2.0), ""),
        (ledger(queued(2.0, NOW - 60_000)), prediction(2.0), ""),  # the same again is the heartbeat
        (ledger(queued(2.0, NOW - 300_000), queued(2.0, NOW - 60_000)), prediction(1.0), ""),  # a heartbeat does not restart the dwell
        (ledger(*(queued(2.0, NOW - ms) for ms in (3_599_000, 60_000, 1_000))), prediction(2.0), "rate_limit"),
        (ledger(*(queued(2.0, NOW - ms) for ms in (3_600_000, 60_000, 1_000))), prediction(2.0), ""),
    ],
)
def test_judge(held: Ledger, asked: Prediction, why: str) -> None:
    assert judge(asked, ACTION, held, DEVICE, NOW) == why


def test_a_prediction_is_queued_with_the_id_of_what_decided_it() -> None:
    held = ledger()
    out = decide([record(prediction())], held, USE_CASES, NOW)
    (command,) = [msgspec.json.decode(emit.value, type=Command) for emit in out.emits]
    assert (command.state, command.device, command.prediction_id) == ("queued", "room-1-fan", prediction().prediction_id)
    assert command.expires_ms > NOW
    assert held.unsent() == [command]
    topic, body, traceparent, expiry_s = wire(command, NOW + 30_000)
    assert topic == "iot/room-1-fan/command"
    assert json.loads(body) == {
        "command_id": command.command_id,
        "action": "fan_speed",
        "value": 2.0,
        "expires_ms": command.expires_ms,
        "decided_by": command.prediction_id,
    }
    assert traceparent.startswith("00-")
    assert expiry_s == 60


@pytest.mark.parametrize(("ok", "state"), [(True, "acked"), (False, "failed")])
def test_an_ack_ends_a_command_once(ok: bool, state: str) -> None:
    command = moved(queued(2.0, NOW), "sent", NOW)
    held = ledger(command)
    ack = Ack(command_id=command.command_id, device=DEVICE, ok=ok, at_ms=NOW, arrived_ms=NOW, reason="because")
    out = decide([record(ack), record(ack, offset=1)], held, USE_CASES, NOW + 10)
    assert [msgspec.json.decode(emit.value)["state"] for emit in out.emits] == [state]
    assert out.counts["ack_of_none_under_way"] == 1
    assert not held.underway


def test_another_devices_ack_does_not_count() -> None:
    command = queued(2.0, NOW)
    ack = Ack(command_id=command.command_id, device="room-2-fan", ok=True, at_ms=NOW, arrived_ms=NOW)
    assert decide([record(ack)], ledger(command), USE_CASES, NOW).emits == []


def test_a_command_expires_without_any_message() -> None:
    held = ledger(queued(2.0, NOW))
    assert expired(held, NOW + 89_999) == []
    out = decide([], held, USE_CASES, NOW + 90_000)
    assert [msgspec.json.decode(emit.value)["state"] for emit in out.emits] == ["expired"]
    assert decide([], held, USE_CASES, NOW + 90_001).emits == []


def test_the_log_alone_says_what_is_under_way() -> None:
    first, second = queued(1.0, NOW - 200_000), queued(2.0, NOW)
    states = [first, moved(first, "sent", NOW - 199_000), moved(first, "acked", NOW - 198_000), second]
    held = fold(record(state, offset=n) for n, state in enumerate(states))
    assert held.unsent() == [second]


def test_what_is_no_message_is_kept_whole() -> None:
    bad = Record("stream-prediction", 0, 7, NOW, "room-1", b'{"use_case": 7}', "")
    out = decide([bad], ledger(), USE_CASES, NOW)
    assert out.counts["rejected"] == 1
    assert [emit.topic for emit in out.emits] == ["stream-deadletter"]
    assert out.counts["read"] == out.counts["used"] + out.counts["rejected"] + out.counts["passed"]


def test_a_place_whose_device_cannot_be_named_gets_no_command() -> None:
    assert judge(prediction(), ACTION, ledger(), "p" * 61 + "-fan", NOW) == "device_name"
    assert judge(prediction(), ACTION, ledger(), "room/#-fan", NOW) == "device_name"
