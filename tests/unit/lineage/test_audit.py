"""The audit, on a sound world and on one that was spoilt in one place: it must name what was spoilt."""

from dataclasses import replace
from hashlib import blake2b
from itertools import chain

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage.audit import LogRecord
from lineage.ledger import Report
from mliot.journal import Acknowledged
from mliot.messages import (
    MESSAGES,
    Ack,
    Command,
    DeadLetter,
    Feature,
    Frame,
    Label,
    Message,
    Prediction,
    Window,
)  # fmt: skip

_NEW_ID = {
    Frame: {"frame_id": "room-9-x@1764000000000#00000000"},
    Window: {"window_id": "place_1m:room-9@1764000000000"},
    Feature: {"feature_id": "place_1m:room-9@1764000000000"},
    Prediction: {"prediction_id": "invented", "feature_id": "place_1m:room-9@1764000000000"},
    Label: {"feature_id": "invented"},
    Command: {"command_id": "room-9@1764000000000#00000000", "prediction_id": "nobody"},
    Ack: {"command_id": "room-9@1764000000000#00000000"},
    DeadLetter: {"dead_id": "00"},
}
STRICTLY_ONCE = (Window, Feature, Prediction, Command)


def named(report: Report) -> str:
    return "\n".join(chain.from_iterable((*f.missing, *f.twice, *f.foreign) for f in report.findings))


def finding(report: Report, what: str):
    return next(f for f in report.findings if f.what == what)


def test_a_sound_world_is_clean(world):
    report = world.audit(strict=True)
    assert named(report) == ""
    assert report.doubts == []
    assert report.clean
    assert finding(report, "frames").owed == 27
    assert [
        (finding(report, f"windows {g}").owed, finding(report, f"windows {g}").seen) for g in ("sensor_1m", "place_1m", "place_1h")
    ] == [
        (9, 9),
        (6, 6),
        (2, 2),
    ]
    assert (finding(report, "features").owed, finding(report, "features").seen) == (27 + 17, 27 + 17)
    assert (finding(report, "predictions fan_speed").owed, finding(report, "predictions fan_speed").seen) == (6, 6)
    assert finding(report, "commands, by state").seen == 18
    assert finding(report, "store window").seen == 17


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_dropped_from_the_log_is_named(made, data):
    world = made.sound_world()
    kind = data.draw(st.sampled_from(MESSAGES))
    _, gone = world.log[kind].pop(data.draw(st.integers(0, len(world.log[kind]) - 1)))
    report = world.audit()
    assert not report.clean
    assert gone.id in named(report)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_dropped_from_log_and_sinks_alike_is_named_where_something_owes_it(made, data):
    """Labels, acks and a command's later states are nobody's debt; all else is missed although store and warehouse agree with the log."""
    world = made.sound_world()
    kind = data.draw(st.sampled_from((Frame, Window, Feature, DeadLetter)))
    _, gone = world.log[kind].pop(data.draw(st.integers(0, len(world.log[kind]) - 1)))
    world.copy_to_sinks()
    report = world.audit()
    assert not report.clean
    assert gone.id in named(report)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_doubled_in_the_log_is_named(made, data):
    world = made.sound_world()
    kind = data.draw(st.sampled_from(STRICTLY_ONCE))
    entry = data.draw(st.sampled_from(world.log[kind]))
    world.log[kind].append(entry)
    world.copy_to_sinks()
    report = world.audit()
    assert not report.clean
    assert any(entry[1].id in f.twice for f in report.findings)


@pytest.mark.parametrize("kind", [Frame, Ack, DeadLetter, Label])
def test_what_may_be_redelivered_is_no_failure(world, kind):
    world.log[kind].append(world.log[kind][0])
    world.copy_to_sinks()
    report = world.audit(strict=True)
    assert report.clean, named(report)


def test_redelivered_frames_are_counted(world):
    world.log[Frame] += world.log[Frame][:2]
    world.copy_to_sinks()
    assert finding(world.audit(), "frames").note == "2 redelivered"


@pytest.mark.parametrize("kind", MESSAGES)
def test_whatever_is_invented_in_the_log_is_named(world, kind):
    partition, template = world.log[kind][0]
    invented = msgspec.structs.replace(template, **_NEW_ID[kind])
    world.log[kind].append((partition, invented))
    report = world.audit()
    assert not report.clean
    assert invented.id in named(report)


@pytest.mark.parametrize("kind", [Window, Feature, Prediction, Command, Ack])
def test_what_names_no_cause_is_foreign_although_the_sinks_have_it(world, kind):
    partition, template = world.log[kind][0]
    invented = msgspec.structs.replace(template, **_NEW_ID[kind])
    world.log[kind].append((partition, invented))
    world.copy_to_sinks()
    report = world.audit()
    foreign = "\n".join(chain.from_iterable(f.foreign for f in report.findings))
    assert (invented.command_id if isinstance(invented, Command) else invented.id) in foreign


@pytest.mark.parametrize("sink", ["store", "warehouse"])
@pytest.mark.parametrize("kind", MESSAGES)
def test_a_sink_that_lacks_or_invents_a_row_is_named(world, kind, sink):
    rows = getattr(world, sink)[kind]
    lost, _ = rows.pop(0)
    rows.append(("invented", f"{kind.topic_name}-0-0"))
    found = finding(world.audit(), f"{sink} {kind.topic_name.removeprefix('stream-')}")
    assert (found.missing, found.foreign) == ([lost], ["invented"])


def test_a_record_that_the_warehouse_loaded_twice_is_named(world):
    world.warehouse_twice[Frame] = ["stream-frame-0-3"]
    report = world.audit()
    assert finding(report, "warehouse frame").twice == ["stream-frame-0-3"]
    assert not report.clean


def test_a_warehouse_that_lags_is_a_doubt_and_fails_only_if_strict(world):
    world.scope = replace(world.scope, loaded_to={**world.scope.loaded_to, ("stream-frame", 0): 10})
    world.warehouse[Frame] = [
        row for row in world.warehouse[Frame] if not (row[1].startswith("stream-frame-0-") and int(row[1][15:]) >= 10)
    ]
    assert world.audit().doubts == ["the warehouse is 8 records behind Kafka"]
    assert world.audit().clean
    assert not world.audit(strict=True).clean


def test_rows_of_records_outside_what_was_read_are_not_judged(world):
    world.scope = replace(world.scope, begins={("stream-frame", 0): 5}, ends={("stream-frame", 0): 40})
    world.ends = {("stream-frame", 0): 41}
    world.store[Frame] += [("aged", "stream-frame-0-4"), ("new", "stream-frame-0-40")]
    assert finding(world.audit(), "store frame").foreign == []
    world.store[Frame].append(("invented", "stream-frame-0-39"))
    assert finding(world.audit(), "store frame").foreign == ["invented"]


@pytest.mark.parametrize("sink", ["store", "warehouse"])
@pytest.mark.parametrize("kind", MESSAGES)
def test_a_row_that_says_to_be_of_a_record_after_the_log_s_end_is_named_and_one_that_came_meanwhile_is_not(world, kind, sink):
    """Reading ended at 40, the log at 50 when the rows had been read: what is at 49 came meanwhile, at 50 there is nothing."""
    place = (kind.topic_name, 0)
    world.scope = replace(world.scope, ends={place: 40})
    getattr(world, sink)[kind] += [("came meanwhile", f"{kind.topic_name}-0-49"), ("invented", f"{kind.topic_name}-0-50")]
    world.ends = {place: 50}
    report = world.audit()
    assert finding(report, f"{sink} {kind.topic_name.removeprefix('stream-')}").foreign == ["invented"]
    assert named(report) == "invented"


def test_a_published_frame_that_was_refused_is_excused_by_its_dead_letter(world, made):
    message = b'{"id":"x","payload":{"temperature":900}}'
    one = made.frame("x", "x", made.START_MS)
    refused = f"x@{made.START_MS}#" + blake2b(message, digest_size=4).hexdigest()
    world.journal.append(Acknowledged("frame", refused, one.mqtt_topic, made.START_MS))
    assert named(world.audit()) == refused
    letter = DeadLetter.of(message, source=one.mqtt_topic, service="bridge", reason="out of range", at_ms=made.START_MS)
    world.log[DeadLetter].append((0, letter))
    world.copy_to_sinks()
    report = world.audit()
    assert report.clean, named(report)
    assert finding(report, "published frames in Kafka").note == "1 were refused and are dead letters"


def test_a_bad_message_without_its_dead_letter_is_missing(world):
    world.journal.append(Acknowledged("dead", "ffff", "iot-frames-sensor", 0))
    assert finding(world.audit(), "published bad messages dead-lettered").missing == ["ffff"]


def test_rows_made_before_the_first_champion_pass_by(world):
    champion = [(p, m) for p, m in world.log[Prediction] if not m.shadow]
    first = min(champion, key=lambda entry: entry[1].made_ms)[1].at_ms
    world.log[Prediction] = [(p, m) for p, m in world.log[Prediction] if m.at_ms > first]
    kept = {m.prediction_id for _, m in world.log[Prediction]}
    world.log[Command] = [(p, m) for p, m in world.log[Command] if m.prediction_id in kept]
    orders = {m.command_id for _, m in world.log[Command]}
    world.log[Ack] = [(p, m) for p, m in world.log[Ack] if m.command_id in orders]
    world.copy_to_sinks()
    report = world.audit(strict=True)
    assert report.clean, named(report)
    assert finding(report, "predictions fan_speed").note == "2 rows passed by before the first champion"


def test_two_champions_about_one_row_are_twice(world, made):
    row = next(m for _, m in world.log[Feature] if m.grain == "place_1m")
    world.log[Prediction].append((0, made.answer(row, version="m2")))
    world.copy_to_sinks()
    assert finding(world.audit(), "predictions fan_speed").twice == [f"{row.feature_id}+fan_speed"]


def test_a_row_that_inference_refused_owes_no_answer(world):
    partition, prediction = next((p, m) for p, m in reversed(world.log[Prediction]) if not m.shadow)
    row = next(m for _, m in world.log[Feature] if m.feature_id == prediction.feature_id)
    world.log[Prediction].remove((partition, prediction))
    world.log[Command] = [(p, m) for p, m in world.log[Command] if m.prediction_id != prediction.prediction_id]
    orders = {m.command_id for _, m in world.log[Command]}
    world.log[Ack] = [(p, m) for p, m in world.log[Ack] if m.command_id in orders]
    world.copy_to_sinks()
    assert named(world.audit()) == f"{row.feature_id}+fan_speed"
    letter = DeadLetter.of(row.encode(), source="stream-feature", service="inference", reason="not finite", at_ms=0, key=row.key)
    world.log[DeadLetter].append((partition, letter))
    world.copy_to_sinks()
    assert world.audit().clean


def add_late(world, made, device: str, arrived_ms: int, *, in_hour: bool):
    """A frame of room-1's first minute that arrives afterwards; the hour, where it is still open, counts it, and so it has its row."""
    late = made.frame(device, "room-1", made.START_MS + 10_000, arrived_ms)
    world.log[Frame].append((0, late))
    if in_hour:
        row = made.feature_of(
            f"sensor_frame:{late.frame_id}", "sensor_frame", device, "room-1", late.event_ms, late.event_ms, 1, arrived_ms
        )
        world.log[Feature].append((0, row))
        at = next(i for i, (_, m) in enumerate(world.log[Window]) if m.window_id == f"place_1h:room-1@{made.START_MS}")
        partition, hour = world.log[Window][at]
        world.log[Window][at] = (partition, msgspec.structs.replace(hour, frames=hour.frames + 1))
    world.copy_to_sinks()


@pytest.mark.parametrize("device", ["room-1-a", "room-1-c"])
def test_a_frame_that_came_late_is_counted_and_no_failure(world, made, device):
    """The minute had been emitted when the frame arrived; of room-1-c it was the only one, so that its minute never came.

    event      |--minute--|
    emitted               ^ +5.1 s
    arrived                      ^ +65 s
    """
    add_late(world, made, device, made.START_MS + 125_000, in_hour=True)
    report = world.audit(strict=True)
    assert report.clean, (named(report), report.doubts)
    assert [finding(report, f"windows {grain}").note for grain in ("sensor_1m", "place_1m", "place_1h")] == ["1 frames came late"] * 2 + [
        ""
    ]


def test_a_frame_that_the_open_hour_lacks_is_a_doubt_and_its_own_row_missing(world, made):
    add_late(world, made, "room-1-a", made.START_MS + 125_000, in_hour=False)
    report = world.audit()
    assert [doubt.split()[0] for doubt in report.doubts] == [f"place_1h:room-1@{made.START_MS}"]
    assert [id.partition(":")[0] for id in finding(report, "features").missing] == ["sensor_frame"]


def test_a_frame_that_came_after_all_its_windows_owes_no_row(world, made):
    add_late(world, made, "room-1-a", made.START_MS + 3_610_000, in_hour=False)
    report = world.audit(strict=True)
    assert report.clean, (named(report), report.doubts)


def test_history_that_a_silent_log_had_closed_before_is_late_and_not_missing(made):
    """All frames arrive hours after their event, and no window was emitted at all: the clock had closed them in the silence before."""
    world = made.sound_world()
    world.log[Frame] = [(p, msgspec.structs.replace(m, arrived_ms=made.START_MS + 2 * 3_600_000 - 60_000)) for p, m in world.log[Frame]]
    for kind in (Window, Feature, Prediction, Label, Command, Ack):
        world.log[kind] = []
    world.copy_to_sinks()
    report = world.audit(strict=True)
    assert report.clean, (named(report), report.doubts)


def test_one_lost_window_of_history_is_missing_though_its_frames_came_hours_later(made):
    """Other windows of its partition, which end no later, were emitted after its frames had arrived: it was not closed by then."""
    world = made.sound_world()
    arrived_ms = made.START_MS + 3_700_000
    world.log[Frame] = [(p, msgspec.structs.replace(m, arrived_ms=arrived_ms)) for p, m in world.log[Frame]]
    world.log[Feature] = [(p, msgspec.structs.replace(m, made_ms=arrived_ms + 50)) for p, m in world.log[Feature]]
    lost = f"sensor_1m:room-1-b@{made.START_MS + 60_000}"
    world.log[Window] = [(p, m) for p, m in world.log[Window] if m.window_id != lost]
    world.log[Feature] = [(p, m) for p, m in world.log[Feature] if m.feature_id != lost]
    world.copy_to_sinks()
    assert finding(world.audit(), "windows sensor_1m").missing == [lost]


def test_a_window_lost_with_all_its_frames_on_time_is_missing(world, made):
    one = made.frame("room-1-c", "room-1", made.START_MS + 10_000)
    world.log[Frame].insert(3, (0, one))
    world.copy_to_sinks()
    assert f"sensor_1m:room-1-c@{made.START_MS}" in finding(world.audit(), "windows sensor_1m").missing


def test_a_window_that_is_still_open_is_not_owed(made):
    world = made.sound_world()
    hours = [(p, m) for p, m in world.log[Window] if m.grain == "place_1h"]
    ids = {m.window_id for _, m in hours}
    world.log[Window] = [entry for entry in world.log[Window] if entry not in hours]
    world.log[Feature] = [(p, m) for p, m in world.log[Feature] if m.feature_id not in ids]
    world.copy_to_sinks()
    world.scope = replace(world.scope, now_ms=made.START_MS + 200_000)
    assert world.audit(strict=True).clean
    world.scope = replace(world.scope, now_ms=made.START_MS + 3_700_000)
    assert set(finding(world.audit(), "windows place_1h").missing) == ids


def test_a_window_that_counts_more_frames_than_it_owes_is_foreign(world):
    partition, window = world.log[Window][0]
    world.log[Window][0] = (partition, msgspec.structs.replace(window, frames=window.frames + 1))
    found = finding(world.audit(), f"windows {window.grain}").foreign
    assert found == [f"{window.window_id} (counts {window.frames + 1} frames, owes {window.frames})"]


def test_a_window_that_lacks_frames_which_were_on_time_is_a_doubt(world):
    partition, window = world.log[Window][0]
    world.log[Window][0] = (partition, msgspec.structs.replace(window, frames=window.frames - 1))
    report = world.audit()
    assert report.clean
    assert [doubt.split()[0] for doubt in report.doubts] == [window.window_id]
    assert not world.audit(strict=True).clean


def test_an_unreadable_record_owes_a_dead_letter_of_the_store(world):
    class Rubbish:
        id = "rubbish"

        def encode(self) -> bytes:
            return b"\xff{"

    world.copy_to_sinks()
    world.log[Frame].append((0, Rubbish()))
    address = f"stream-frame-0-{sum(p == 0 for p, _ in world.log[Frame]) - 1}"
    assert finding(world.audit(), "unreadable records dead-lettered").missing == [address]
    world.store[DeadLetter].append(("of the store", address))
    assert world.audit().clean


def under_way(world, kind: type[Message], message: Message):
    """Adds a record that was written only a moment ago."""
    records = world.records

    def with_one_more(asked: type[Message]):
        yield from records(asked)
        if asked is kind:
            yield LogRecord(0, 99, message.encode(), settled=False)

    world.records = with_one_more


def test_a_frame_under_way_owes_neither_rows_nor_windows_yet(world, made):
    one = made.frame("room-1-c", "room-1", made.START_MS + 3_601_000)
    under_way(world, Frame, one)
    assert world.audit(strict=True).clean


def test_a_feature_row_under_way_owes_no_answer_yet(world, made):
    _, last = world.log[Feature][-1]
    ends = (last.end_ms, last.end_ms + 60_000)
    row = made.feature_of(f"place_1m:room-1@{ends[0]}", "place_1m", "room-1", "room-1", *ends, 0, last.made_ms + 60_000)
    window = Window(window_id=row.feature_id, grain=row.grain, key=row.key, place_id=row.place_id, start_ms=row.start_ms, end_ms=row.end_ms,
                    frames=1, first=row.first, last=row.last, values={})  # fmt: skip
    world.log[Frame].append((0, made.frame("room-1-a", "room-1", ends[0])))
    under_way(world, Feature, row)
    under_way(world, Window, window)
    report = world.audit()
    assert finding(report, "predictions fan_speed").missing == []
    world.log[Feature].append((0, row))
    assert finding(world.audit(), "predictions fan_speed").missing == [f"{row.feature_id}+fan_speed"]


def test_a_window_before_an_emitted_one_is_owed_while_the_stream_goes_on(world, made):
    """The audit looks when the watermark can be told from the frames of a silent partition no longer; what was emitted tells it."""
    lost = f"place_1m:room-1@{made.START_MS}"
    world.log[Window] = [(p, m) for p, m in world.log[Window] if m.window_id != lost]
    world.copy_to_sinks()
    world.scope = replace(world.scope, now_ms=made.START_MS)
    assert lost in finding(world.audit(), "windows place_1m").missing


OWED = "commands of fan_speed, sent or withheld"


def orders(world) -> list[tuple[int, Command]]:
    return [(p, m) for p, m in world.log[Command] if m.state == "queued"]


def without(world, one: Command) -> None:
    world.log[Ack] = [(p, m) for p, m in world.log[Ack] if m.command_id != one.command_id]
    world.log[Command] = [(p, m) for p, m in world.log[Command] if m.prediction_id != one.prediction_id]
    world.copy_to_sinks()


def test_a_prediction_that_acts_owes_a_command_and_a_withheld_one_is_as_good(world):
    partition, one = orders(world)[-1]
    without(world, one)
    assert finding(world.audit(), OWED).missing == [one.prediction_id]
    world.log[Command].append((partition, msgspec.structs.replace(one, state="withheld", reason="rate: too often")))
    world.copy_to_sinks()
    report = world.audit()
    assert report.clean
    assert finding(report, OWED).note == "1 withheld"


def test_two_commands_of_one_prediction_are_named(world):
    partition, one = orders(world)[0]
    again = msgspec.structs.replace(one, command_id=f"{one.command_id[:-8]}00000000")
    world.log[Command].append((partition, again))
    assert finding(world.audit(), OWED).twice == [one.prediction_id]


def test_predictions_before_the_first_command_owe_none_nor_do_those_that_were_refused(world):
    first_ms = min(command.decided_ms for _, command in orders(world))
    for _, first in orders(world):
        if first.decided_ms == first_ms:
            without(world, first)
    assert finding(world.audit(), OWED).missing == []
    partition, last = orders(world)[-1]
    without(world, last)
    refused = next(m for _, m in world.log[Prediction] if m.prediction_id == last.prediction_id)
    letter = DeadLetter.of(refused.encode(), source="stream-prediction", service="commands", reason="odd", at_ms=1)
    world.log[DeadLetter].append((partition, letter))
    assert finding(world.audit(), OWED).missing == []


def test_where_kafka_has_dropped_commands_none_can_be_missing(world):
    _, one = orders(world)[-1]
    without(world, one)
    world.scope = replace(world.scope, begins={("stream-command", 0): 1})
    assert finding(world.audit(), OWED).missing == []
