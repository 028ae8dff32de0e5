"""The online learner: test-then-train, labels after their delay, and a state that survives as JSON."""

import random

import msgspec
import pytest

from mliot.messages import CHECKPOINT_TOPIC, DeadLetter, Feature, Label
from mliot.usecase import load_use_cases
from streaming import online
from streaming.learner import LEAST_LEARNT, learner_for
from streaming.online import PATIENCE_MS, Student, needed_from, remember, restore
from streaming.ports import Batch, Commit, Outcome, Partition, Position, Record

NOW = 1_764_000_000_000
MINUTE = 60_000
USE_CASES = load_use_cases()
FAN, FLOW = USE_CASES["fan_speed"], USE_CASES["water_flow"]


def row(minute: int, offset: int = 0, **values: float) -> Record:
    start = NOW + minute * MINUTE
    feature = Feature(
        feature_id=f"place_1m:room-1@{start}", model="features_place_1m", version="f1", grain="place_1m", key="room-1", place_id="room-1",
        start_ms=start, end_ms=start + MINUTE, frames=1, first="", last="", made_ms=start, values=values,
    )  # fmt: skip
    return Record("stream-feature", 0, offset, start, "room-1", feature.encode(), "")


def label(minute: int, value: float, offset: int = 0, delay: int = 10) -> Record:
    start = NOW + minute * MINUTE
    known = Label(
        use_case="fan_speed", feature_id=f"place_1m:room-1@{start}", key="room-1", place_id="room-1",
        label_ms=start + MINUTE, available_ms=start + MINUTE + delay * MINUTE, value=value,
    )  # fmt: skip
    return Record("stream-label", 0, offset, start, "room-1", known.encode(), "")


def decide(records: list[Record], students: dict[str, Student], now_ms: int) -> Outcome:
    out = Outcome("online", now_ms)
    online.decide(online.read(records, students), students, out)
    return out


def student() -> Student:
    return Student(FAN, learner_for(FAN))


def test_a_label_is_learnt_when_event_time_reaches_it_and_not_before() -> None:
    held = student()
    decide([row(0, temperature_avg=20.0), label(0, 1.0)], {"fan_speed": held}, NOW)
    decide([row(9, 1)], {"fan_speed": held}, NOW)
    assert held.learner.version == "online-0"
    decide([row(10, 2)], {"fan_speed": held}, NOW)
    assert held.learner.version == "online-1"


def test_a_row_whose_label_never_comes_is_let_go() -> None:
    held = student()
    decide([row(0)], {"fan_speed": held}, NOW)
    decide([row((PATIENCE_MS + FAN.delay_ms) // MINUTE + 2, 1)], {"fan_speed": held}, NOW)
    assert len(held.rows) == 1


def test_what_waits_decides_from_where_a_restart_rereads() -> None:
    held = student()
    decide([row(0, 5), row(1, 6), label(0, 1.0, 3)], {"fan_speed": held}, NOW)
    at = {Partition("stream-feature", 0): 7, Partition("stream-label", 0): 4}
    positions = needed_from({"fan_speed": held}, at, {})
    assert {partition.topic: (p.offset, p.note) for partition, p in positions.items()} == {
        "stream-feature": (7, "5"),
        "stream-label": (4, "3"),
    }


def test_a_restart_goes_on_where_it_stopped() -> None:
    records = [
        record
        for minute in range(60)
        for record in (row(minute, minute, temperature_avg=float(minute % 7)), label(minute, minute % 4, minute))
    ]
    whole = student()
    decide(records, {"fan_speed": whole}, NOW)

    before, after = student(), student()
    decide(records[:71], {"fan_speed": before}, NOW)
    after.restore(before.checkpoint())
    remember(records[:71], {"fan_speed": after})
    decide(records[71:], {"fan_speed": after}, NOW)
    assert after.checkpoint() == whole.checkpoint()


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"use_case":"fan_speed","took":{},"times":{},"learner":{"learnt":3}}', b"\xff"])
def test_a_checkpoint_that_is_none_is_told_of_and_the_one_before_it_goes_on(spoilt: bytes) -> None:
    learnt = student()
    decide([row(0, 0, temperature_avg=20.0), label(0, 1, 0), row(30, 1, temperature_avg=20.0)], {"fan_speed": learnt}, NOW)
    whole = learnt.checkpoint()
    good = Record("checkpoint", 0, 0, NOW, "fan_speed", whole, "")
    bad = good._replace(offset=1, value=spoilt)
    stranger = good._replace(offset=2, key="nobody")

    again = student()
    ((told, why),) = restore([good, bad, stranger], {"fan_speed": again})
    assert (told, again.checkpoint()) == (bad, whole)
    assert why.startswith("not a checkpoint of fan_speed: ")
    assert restore([bad, good], {"fan_speed": student()}) == []


def test_a_checkpoint_that_is_none_becomes_a_dead_letter_with_the_first_commit() -> None:
    rows, labels = Partition("stream-feature", 0), Partition("stream-label", 0)
    service = online.online({"fan_speed": FAN}, 100, (0,))
    next(service)
    service.send({rows: Position(0, ""), labels: Position(0, "")})
    service.send([Record(CHECKPOINT_TOPIC, 0, 7, NOW, "fan_speed", b"{", "")])
    service.send(None)
    commit = service.send(Batch([row(0)], frozenset({rows, labels}), NOW))
    assert isinstance(commit, Commit)
    (letter,) = [msgspec.json.decode(e.value, type=DeadLetter) for e in commit.outcome.emits if e.topic == DeadLetter.topic_name]
    assert (letter.source, letter.service, letter.original) == (CHECKPOINT_TOPIC, "online", b"{")
    assert commit.outcome.counts["checkpoint_unusable"] == 1
    service.send(None)
    again = service.send(Batch([row(1, 1)], frozenset({rows, labels}), NOW))
    assert isinstance(again, Commit)
    assert [e for e in again.outcome.emits if e.topic == DeadLetter.topic_name] == []


@pytest.mark.parametrize("use_case", [FAN, FLOW], ids=lambda use_case: use_case.name)
def test_it_learns_what_can_be_learnt(use_case) -> None:
    random.seed(4)
    learner = learner_for(use_case)
    column = use_case.columns[0]
    errors = []
    for n in range(1500):
        x = random.uniform(0, 8)
        truth = float(int(x > 4)) if use_case.kind == "class" else 30 * x + 100
        answer = learner.predict({column: x})
        if n > 1000:
            errors.append(abs(answer[0] - truth))
        learner.learn({column: x}, truth)
    limit = 0.06 if use_case.kind == "class" else 8.0
    assert sum(errors) / len(errors) < limit


@pytest.mark.parametrize("use_case", [FAN, FLOW], ids=lambda use_case: use_case.name)
def test_its_state_is_json_and_whole(use_case) -> None:
    random.seed(5)
    learner, twin = learner_for(use_case), learner_for(use_case)
    for _ in range(200):
        values = {column: random.gauss(0, 1) for column in use_case.columns if random.random() > 0.2}
        learner.learn(values, float(random.randint(0, 3)))
    twin.restore(msgspec.Raw(msgspec.json.encode(learner.state())))
    probe = dict.fromkeys(use_case.columns, 0.3)
    for learn in (learner, twin):
        learn.learn(probe, 2.0)
    assert twin.predict(probe) == learner.predict(probe)
    assert twin.version == learner.version != "online-0"


def test_it_learns_the_change_where_the_use_case_says_so() -> None:
    """A level that wanders far from where it began: the change is always 2."""
    learner = learner_for(FLOW)
    for n in range(300):
        learner.learn({"water_flow_avg": 10.0 * n, "hour_sin": 0.5}, 10.0 * n + 2)
    assert learner.predict({"water_flow_avg": 50_000.0})[0] == pytest.approx(50_002, abs=1)
    assert learner.predict({"hour_sin": 0.5}) is None


def test_it_says_nothing_before_it_has_seen_a_few_labels() -> None:
    learner = learner_for(FLOW)
    for _ in range(LEAST_LEARNT - 1):
        learner.learn({"water_flow_avg": 1.0}, 1.0)
    assert learner.predict({"water_flow_avg": 1.0}) is None


def test_a_label_that_is_no_class_is_refused_and_nothing_is_learnt_from_it() -> None:
    held = student()
    out = decide([row(0, temperature_avg=20.0), label(0, 1.5, 1), row(11, 2)], {"fan_speed": held}, NOW)
    assert (out.counts["read"], out.counts["used"], out.counts["rejected"]) == (3, 2, 1)
    assert held.learner.version == "online-0"


def test_a_refusal_behind_a_record_that_waits_is_kept_for_its_turn() -> None:
    bad = row(1, 1)._replace(value=b"{broken")
    waiting = online.Waiting((Partition("stream-feature", 0), Partition("stream-label", 0)))
    waiting.add(online.read([row(0), bad], {"fan_speed": student()}))
    assert waiting.ready(frozenset()) == []  # the labels may still hold something earlier
    out = Outcome("online", NOW)
    online.decide(waiting.ready(frozenset({Partition("stream-label", 0)})), {"fan_speed": student()}, out)
    assert (out.counts["read"], out.counts["used"], out.counts["rejected"]) == (2, 1, 1)
    assert sum(emit.topic == "stream-deadletter" for emit in out.emits) == 1


def test_a_restart_gets_over_a_record_that_was_refused_before_it() -> None:
    held = student()
    remember([row(0), row(1, 1)._replace(value=b"{broken"), label(0, 1.0, 2)], {"fan_speed": held})
    assert (len(held.rows), len(held.labels)) == (1, 1)
