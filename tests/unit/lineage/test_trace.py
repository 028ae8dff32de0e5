"""The tree of one chain, from made rows."""

from types import SimpleNamespace

import msgspec
import pytest

from lineage.chain import Chain, Stored, StoredLetter, Subject, WindowFrames
from lineage.trace import Node, Trace
from mliot.clock import clock_time, span_text
from mliot.messages import Ack, DeadLetter, Label
from tests.builtingrains import FRAME_GRAIN, GRAINS


@pytest.fixture
def rows(made):
    """One frame of room-1's first minute with its own row and its minute's row, the answer, label, command and ack."""

    frame = made.frame("room-1-a", "room-1", made.START_MS + 10_000)
    at = (frame.event_ms, frame.event_ms)
    own = made.feature_of(GRAINS.rows_of_frame(frame.frame_id)[0], FRAME_GRAIN, "room-1-a", "room-1", *at, 1, frame.arrived_ms + 60)
    minute_id = f"place_1m:room-1@{made.START_MS}"
    span = (made.START_MS, made.START_MS + 60_000)
    minute = made.feature_of(minute_id, "place_1m", "room-1", "room-1", *span, 6, made.START_MS + 65_100)
    answer = made.answer(minute)
    shadow = made.answer(minute, version="online-1", shadow=True, value=1.0)
    label = Label(use_case="fan_speed", feature_id=minute_id, key="room-1", place_id="room-1", label_ms=minute.end_ms,
                  available_ms=minute.end_ms + 600_000, value=1.0)  # fmt: skip
    states = tuple(made.order(answer, state, answer.made_ms + ms) for state, ms in (("acked", 50), ("queued", 10), ("sent", 20)))
    ack = Ack(command_id=states[0].command_id, device="room-1-fan", ok=True, at_ms=answer.made_ms + 40, arrived_ms=answer.made_ms + 45)
    return SimpleNamespace(
        frame=frame, own=own, minute_id=minute_id, minute=minute, answer=answer, shadow=shadow, label=label, states=states, ack=ack
    )


def stored(message, offset: int = 0) -> Stored:
    return Stored(message, f"{message.topic_name}-0-{offset}", 1)


def tree(chain: Chain, made, now_ms: int) -> Node:
    return Trace(chain, made.USE_CASES, GRAINS, now_ms, made.GRACE_MS).tree()


def whole(rows, subject: Subject, **more) -> Chain:
    kept = {
        "features": (stored(rows.minute),),
        "predictions": (stored(rows.shadow), stored(rows.answer)),
        "labels": (stored(rows.label),),
        "commands": tuple(map(stored, rows.states)),
        "acks": (stored(rows.ack),),
        "champions": {"fan_speed": 0},
    }
    return Chain(subject, **(kept | more))


def steps(node: Node) -> list[tuple[str, int | None]]:
    return [(f"{each.kind} {each.fields.get('state', '')}".strip(), each.after_ms) for each in node.walk()]


def test_a_frame_leads_to_its_rows_answers_label_command_and_ack(rows, made):
    chain = whole(rows, Subject("frame", rows.frame.frame_id), frame=stored(rows.frame), features=(stored(rows.own), stored(rows.minute)))
    node = tree(chain, made, made.START_MS + 80_000)
    minute_after = rows.minute.made_ms - rows.frame.arrived_ms
    assert steps(node) == [
        ("frame", None),
        ("feature", 60),
        ("awaited", None),
        ("feature", minute_after),
        ("prediction", 30),
        ("label", rows.label.available_ms - rows.answer.made_ms),
        ("command", 10),
        ("state queued", 0),
        ("state sent", 10),
        ("ack", 25),
        ("state acked", 5),
        ("prediction", 30),
        ("label", rows.label.available_ms - rows.shadow.made_ms),
        ("awaited", None),
    ]
    assert node.subject
    answers = [each for each in node.walk() if each.kind == "prediction"]
    assert [each.id for each in answers] == [rows.answer.prediction_id, rows.shadow.prediction_id]
    assert [each.text.partition(" (")[0].partition(" by ")[0] for each in answers] == ["fan_speed level 2", "fan_speed level 1"]


@pytest.mark.parametrize(
    ("after_ms", "said"),
    [
        (53_000, "its minute closes in 12 s"),
        (64_999, "its minute closes in 1 ms"),
        (75_000, "its minute should have closed 10 s ago; see the features service in `mliot status`"),
    ],
)
def test_a_window_that_is_not_closed_is_said(rows, made, after_ms, said):
    chain = Chain(Subject("frame", rows.frame.frame_id), frame=stored(rows.frame))
    node = tree(chain, made, made.START_MS + after_ms)
    assert {child.id: child.text for child in node.children}[rows.minute_id] == said
    assert node.children[3].text.startswith("its hour closes in 5")


def test_a_missing_champion_is_said(rows, made):
    chain = Chain(Subject("feature", rows.minute_id), features=(stored(rows.minute),))
    answers = tree(chain, made, made.START_MS + 80_000).children
    assert [(n.kind, n.text) for n in answers] == [("awaited", "no champion of fan_speed has answered yet")]


def test_a_row_older_than_the_first_champion_was_passed_by(rows, made):
    first_ms = rows.minute.made_ms + 1
    chain = Chain(Subject("feature", rows.minute_id), features=(stored(rows.minute),), champions={"fan_speed": first_ms})
    assert tree(chain, made, made.START_MS + 80_000).children[0].text == (
        f"passed by: the row is older than the first answer of a champion of fan_speed ({clock_time(first_ms)})"
    )
    late = Chain(Subject("feature", rows.minute_id), features=(stored(rows.minute),), champions={"fan_speed": rows.minute.made_ms})
    assert tree(late, made, made.START_MS + 80_000).children[0].text.startswith("no answer of fan_speed yet")


def test_a_prediction_leads_up_to_the_frames_of_its_window(rows, made):
    window = WindowFrames(GRAINS.window(rows.minute_id), 6, (stored(rows.frame, 7),))
    chain = whole(rows, Subject("prediction", rows.answer.prediction_id), window=window, predictions=(stored(rows.answer),))
    node = tree(chain, made, made.START_MS + 80_000)
    assert [kind for kind, _ in steps(node)] == [
        "frames", "feature", "prediction", "label", "command", "state queued", "state sent", "ack", "state acked",
    ]  # fmt: skip
    assert node.fields["count"] == 6
    assert (node.fields["first"], node.fields["last"]) == (rows.minute.first, rows.minute.last)
    assert node.fields["frames"] == [{"frame_id": rows.frame.frame_id, "event_ms": rows.frame.event_ms, "address": "stream-frame-0-7"}]
    assert [each.id for each in node.walk() if each.subject] == [rows.answer.prediction_id]


def test_frames_that_the_row_did_not_count_came_late(rows, made):
    window = WindowFrames(GRAINS.window(rows.minute_id), 7, ())
    chain = whole(rows, Subject("feature", rows.minute_id), window=window)
    assert tree(chain, made, made.START_MS + 80_000).text.endswith("the row counted 6, the others came late")


def test_a_command_without_ack_says_until_when(rows, made):
    queued = (stored(rows.states[1]),)
    for after_ms, said in ((30_000, "no ack yet; it expires in 1 min"), (90_000, "no ack came; its time is over")):
        chain = whole(rows, Subject("command", rows.states[0].command_id), predictions=(stored(rows.answer),), commands=queued, acks=())
        node = tree(chain, made, rows.states[1].decided_ms + after_ms)
        assert [each.text for each in node.walk()][-1] == said


def test_a_label_that_has_not_come_says_when_it_may(rows, made):
    chain = whole(
        rows, Subject("prediction", rows.answer.prediction_id), predictions=(stored(rows.answer),), labels=(), commands=(), acks=()
    )
    node = tree(chain, made, rows.answer.at_ms + 100_000)
    assert [each.text for each in node.walk()][-2:] == [
        "its label comes in 8 min 20 s",
        "no command of it yet, sent or withheld; see the commands service in `mliot status`",
    ]


def test_a_command_that_was_withheld_says_why_and_awaits_nothing(rows, made):
    withheld = msgspec.structs.replace(rows.states[1], state="withheld", reason="dwell: the value changed 60 s ago, and stays for 120 s")
    chain = whole(
        rows, Subject("prediction", rows.answer.prediction_id), predictions=(stored(rows.answer),), commands=(stored(withheld),), acks=()
    )
    command, state = list(tree(chain, made, made.START_MS + 80_000).walk())[-2:]
    assert (command.kind, command.text) == ("command", "room-1-fan: fan_speed 2")
    assert (state.kind, state.text) == ("state", "withheld: dwell: the value changed 60 s ago, and stays for 120 s")


def test_what_is_not_stored_yet_is_awaited(rows, made):
    chain = whole(rows, Subject("prediction", rows.answer.prediction_id), features=(), predictions=(stored(rows.answer),))
    node = tree(chain, made, 0)
    assert (node.kind, node.id, node.children[0].kind) == ("awaited", rows.minute_id, "prediction")
    alone = Chain(Subject("command", rows.states[0].command_id), commands=tuple(map(stored, rows.states)))
    node = tree(alone, made, 0)
    assert (node.kind, node.id, node.children[0].kind) == ("awaited", rows.answer.prediction_id, "command")


def test_an_open_window_shows_its_frames(rows, made):
    chain = Chain(Subject("feature", rows.minute_id), window=WindowFrames(GRAINS.window(rows.minute_id), 2, ()))
    node = tree(chain, made, made.START_MS + 53_000)
    assert [(each.kind, each.text) for each in node.walk()][1] == ("awaited", "its minute closes in 12 s")


def test_a_dead_letter_stands_alone(made):
    letter = DeadLetter.of(b"{", source="iot-frames-sensor", service="bridge", reason="not JSON", at_ms=5)
    node = tree(Chain(Subject("deadletter", letter.dead_id), letter=StoredLetter(letter, "stream-deadletter-0-0", 6)), made, 7)
    assert (node.kind, node.text) == ("deadletter", "refused by bridge, from iot-frames-sensor: not JSON")


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (9_999, "10.0 s"), (12_400, "12 s"), (60_000, "1 min"), (200_000, "3 min 20 s"),
     (7_500_000, "2 h 5 min"), (3 * 86_400_000 + 4 * 3_600_000, "3 d 4 h"), (-12_000, "-12 s")],
)  # fmt: skip
def test_spans_are_told_in_the_units_people_use(ms, text):
    assert span_text(ms) == text
