"""When a prediction becomes a command, and what becomes of the command."""

import json
from datetime import timedelta

import msgspec
import pytest

from mliot.messages import Ack, Command, Prediction, decode
from mliot.usecase import Action
from streaming.runtime.effects import Record
from streaming.services.commands import HOUR_MS, Ledger, decide, expired, fold, judge, moved, order, wire
from usecases import load_use_cases

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


def changing(*before_ms: int) -> list[Command]:
    """Orders of another value each, the last of 3."""
    return [queued(3.0 - n, NOW - ms) for n, ms in zip(reversed(range(len(before_ms))), before_ms, strict=True)]


@pytest.mark.parametrize(
    ("held", "asked", "why"),
    [
        (ledger(), prediction(), ""),
        (ledger(), prediction(at_ms=NOW - 180_001), "stale"),
        (ledger(), prediction(at_ms=NOW - 180_000), ""),
        (ledger(queued(1.0, NOW - 119_999)), prediction(2.0), "dwell"),
        (ledger(queued(1.0, NOW - 120_000)), prediction(2.0), ""),
        (ledger(queued(2.0, NOW - 60_000)), prediction(2.0), ""),  # the same again is the heartbeat
        (ledger(queued(2.0, NOW - 300_000), queued(2.0, NOW - 60_000)), prediction(1.0), ""),  # a heartbeat does not restart the dwell
        (ledger(*changing(3_599_000, 600_000, 300_000)), prediction(0.0), "rate"),
        (ledger(*changing(3_600_000, 600_000, 300_000)), prediction(0.0), ""),
        (ledger(*changing(3_599_000, 600_000, 300_000)), prediction(3.0), ""),  # the same again is no change
        (ledger(*(queued(2.0, NOW - ms) for ms in range(3_599_000, 0, -60_000))), prediction(1.0), ""),  # however often it was said
        (ledger(*changing(4_000_000, 3_900_000, 3_599_000), queued(3.0, NOW - 3_598_000)), prediction(3.0), ""),
    ],
)
def test_judge(held: Ledger, asked: Prediction, why: str) -> None:
    assert judge(asked, ACTION, held, DEVICE, NOW).partition(":")[0] == why


def test_a_prediction_is_queued_with_the_id_of_what_decided_it() -> None:
    held = ledger()
    out = decide([record(prediction())], held, USE_CASES, NOW)
    (command,) = [msgspec.json.decode(emit.value, type=Command) for emit in out.emits]
    assert (command.state, command.device, command.prediction_id) == ("queued", "room-1-fan", prediction().prediction_id)
    assert command.expires_ms > NOW
    assert held.unsent() == [command]
    message = wire(command)
    topic, body, traceparent, *_ = message
    assert topic == "iot/room-1-fan/command"
    assert json.loads(body) == {
        "command_id": command.command_id,
        "action": "fan_speed",
        "value": 2.0,
        "expires_ms": command.expires_ms,
        "decided_by": command.prediction_id,
    }
    assert traceparent.startswith("00-")
    assert [message.left_s(NOW + ms) for ms in (-10_000, 0, 30_000, 30_001, 89_001, 89_999, 600_000)] == [90, 90, 60, 59, 0, 0, 0]


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
    held, unreadable = fold(record(state, offset=n) for n, state in enumerate(states))
    assert held.unsent() == [second]
    assert unreadable == []


def test_what_is_no_message_is_kept_whole() -> None:
    bad = Record("stream-prediction", 0, 7, NOW, "room-1", b'{"use_case": 7}', "")
    out = decide([bad], ledger(), USE_CASES, NOW)
    assert out.counts["rejected"] == 1
    assert [emit.topic for emit in out.emits] == ["stream-deadletter"]
    assert out.counts["read"] == out.counts["used"] + out.counts["rejected"] + out.counts["passed"]


def test_a_place_whose_device_cannot_be_named_gets_no_command() -> None:
    assert judge(prediction(), ACTION, ledger(), "p" * 61 + "-fan", NOW).startswith("device name: 'ppp")
    assert judge(prediction(), ACTION, ledger(), "room/#-fan", NOW).startswith("device name: 'room/#-fan'")
    place = "p" * 61
    (command,) = decided([record(prediction(place_id=place))], ledger())
    assert (command.state, command.device, command.place_id) == ("withheld", "", place)


def decided(records: list[Record], held: Ledger, now_ms: int = NOW) -> list[Command]:
    return [decode(Command, emit.value) for emit in decide(records, held, USE_CASES, now_ms).emits]


def test_what_is_withheld_is_on_record_with_its_reason() -> None:
    held = ledger(queued(1.0, NOW - 60_000))
    out = decide([record(prediction(2.0))], held, USE_CASES, NOW)
    (command,) = [decode(Command, emit.value) for emit in out.emits]
    assert (command.state, command.value, command.prediction_id) == ("withheld", 2.0, prediction().prediction_id)
    assert command.reason == "dwell: the value changed 60 s ago, and stays for 120 s"
    assert (out.counts["withheld"], out.counts["withheld_dwell"], out.counts["used"]) == (1, 1, 1)
    assert held.unsent() == [queued(1.0, NOW - 60_000)], "nothing is sent of it"
    assert decided([record(prediction(1.0))], held)[0].state == "queued", "what was withheld changed nothing"


def test_a_shadows_prediction_is_no_order_that_could_be_withheld() -> None:
    out = decide([record(prediction(shadow=True))], ledger(), USE_CASES, NOW)
    assert (out.emits, out.counts["shadow"], out.counts["passed"]) == ([], 1, 1)


def test_withholding_that_lasts_is_a_problem_until_the_device_hears_again() -> None:
    held = ledger(queued(1.0, NOW))
    told = []
    for minute in range(1, 6):
        now = NOW + minute * 60_000
        out = decide([record(prediction(1.0, now - 200_000))], held, USE_CASES, now)
        told.append(out.problem)
    assert told[:3] == ["", "", ""], "no longer than its dwell and a minute"
    assert told[3].startswith(
        "room-1-fan has had no fan_speed command since 2025-11-24 16:00:00.000 UTC, withheld, stale: the row ended 200 s"
    )
    assert decide([], held, USE_CASES, NOW + 360_000).problem == told[4], "it stands until something changes"
    assert decide([record(prediction(1.0, NOW + 360_000))], held, USE_CASES, NOW + 360_000).problem == ""
    assert (
        decide(
            [], ledger(*[moved(queued(1.0, NOW + ms), "withheld", NOW, "x: y") for ms in (0, 200_000)]), USE_CASES, NOW + HOUR_MS * 2
        ).problem
        == ""
    )


def test_commands_that_cannot_be_read_are_named_and_the_others_still_count() -> None:
    first = queued(1.0, NOW - 60_000)
    bad = Record("stream-command", 0, 1, NOW, "room-1", b'{"state": "queued"}', "")
    held, unreadable = fold([bad, record(first), bad])
    assert [(entry.value, why) for entry, why in unreadable] == [
        (bad.value, "not a message of stream-command: Object missing required field `command_id`")
    ] * 2
    assert judge(prediction(2.0), ACTION, held, DEVICE, NOW).startswith("dwell: ")


def test_a_value_that_stays_is_said_again_each_minute_for_two_hours() -> None:
    held, heard = ledger(), []
    for minute in range(120):
        now = NOW + minute * 60_000
        out = decide([record(prediction(2.0, now - 1_000), offset=minute)], held, USE_CASES, now)
        heard += [minute for emit in out.emits if json.loads(emit.value)["state"] == "queued"]
    silent = [minute for minute in range(120) if minute not in heard]
    assert silent == [], f"heard {len(heard)} times, then no more"
