"""The online learner: test-then-train, labels after their delay, and commits that cost what they hold."""

import time
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from mliot.messages import CHECKPOINT_TOPIC, DeadLetter, Feature, Label
from mliot.usecase import UseCase
from streaming.learning.state import State
from streaming.runtime.effects import Batch, Commit, Effects, Outcome, Partition, Position, Record
from streaming.services import online
from usecases import load_use_cases

NOW = 1_764_000_000_000
MINUTE = 60_000
FAN = load_use_cases()["fan_speed"]
ROWS, LABELS = Partition("stream-feature", 0), Partition("stream-label", 0)


def row(minute: int, offset: int = 0, place: str = "room-1", **values: float) -> Record:
    start = NOW + minute * MINUTE
    feature = Feature(
        feature_id=f"place_1m:{place}@{start}", model="features_place_1m", version="f1", grain="place_1m", key=place, place_id=place,
        start_ms=start, end_ms=start + MINUTE, frames=1, first="", last="", made_ms=start, values=values,
    )  # fmt: skip
    return Record("stream-feature", 0, offset, start, place, feature.encode(), "")


def label(minute: int, value: float, offset: int = 0, delay: int = 10, place: str = "room-1") -> Record:
    start = NOW + minute * MINUTE
    known = Label(
        use_case="fan_speed", feature_id=f"place_1m:{place}@{start}", key=place, place_id=place,
        label_ms=start + MINUTE, available_ms=start + MINUTE + delay * MINUTE, value=value,
    )  # fmt: skip
    return Record("stream-label", 0, offset, start, place, known.encode(), "")


def observe(records: Sequence[Record], state: State) -> Outcome:
    out = Outcome("online", NOW)
    online.observe(online.read(records, {"fan_speed": state}), {"fan_speed": state}, out)
    return out


def started(use_case: UseCase = FAN, checkpoints: Sequence[Record] = ()) -> Effects:
    """The service with one partition of each topic, about to read."""
    service = online.online({"fan_speed": use_case}, 100_000, (0,))
    next(service)
    service.send({ROWS: Position(0), LABELS: Position(0)})
    service.send(list(checkpoints))
    service.send(None)
    return service


def commit(service: Effects, records: Sequence[Record]) -> Commit:
    found = service.send(Batch(records, frozenset({ROWS, LABELS}), NOW))
    assert isinstance(found, Commit)
    service.send(None)
    return found


def test_a_label_is_learnt_when_event_time_reaches_it_and_not_before() -> None:
    state = State(FAN)
    observe([row(0, temperature_avg=20.0), label(0, 1.0)], state)
    observe([row(9, 1)], state)
    assert state.learner.version == "online-0"
    out = observe([row(10, 2)], state)
    assert state.learner.version == "online-1"
    assert out.counts["learnt"] == 1


def test_a_prediction_knows_nothing_of_its_own_label() -> None:
    """The label came before its row, and may be learnt at once: yet the answer is that of the model before."""
    state, late = State(FAN), row(60, 60, temperature_avg=20.0)
    observe([each for n in range(60) for each in (row(n, n, temperature_avg=float(n)), label(n, 1.0, n))], state)
    before = state.learner.version
    out = observe([label(60, 3.0, 60, delay=-60), late], state)
    (told,) = [msgspec.json.decode(emit.value) for emit in out.emits if emit.topic == "stream-prediction"]
    assert told["model_version"] != state.learner.version
    assert int(told["model_version"].removeprefix("online-")) == int(before.removeprefix("online-")) + 1  # the one of minute 50


def test_a_commit_costs_what_it_holds_whatever_the_number_of_places() -> None:
    """One record more is some kilobytes more, also once 15,000 places were seen."""
    service = started()
    commit(service, [row(0, n, f"room-{n}") for n in range(15_000)])
    found = commit(service, [row(1, 15_000, "room-7")])
    assert sum(len(emit.value) for emit in found.outcome.emits if emit.topic == CHECKPOINT_TOPIC) < 5_000
    assert max(len(at.note) for at in found.positions.values()) < 100


def test_no_record_comes_near_the_largest_that_kafka_takes() -> None:
    """120,000 places, each with a row, in one batch."""
    found = commit(started(), [row(0, n, f"room-{n}", **dict.fromkeys(FAN.columns, 1 / 3)) for n in range(120_000)])
    assert max(len(emit.value) for emit in found.outcome.emits) < 500_000


def test_what_is_learnt_costs_the_same_whatever_waits_beside_it() -> None:
    """A label's share where the labels of 200 places become due, while those of the next minute wait, and where those of 20,000 do."""
    slow = FAN.model_copy(update={"label": FAN.label.model_copy(update={"arrives_after": timedelta(days=1)})})

    def seconds(places: int) -> float:
        service = started(slow)
        for minute in (0, 1):
            numbered = [(minute * places + n, f"room-{n}") for n in range(places)]
            commit(service, [e for n, name in numbered for e in (row(minute, n, name), label(minute, 1.0, n, 1440, name))])
        began = time.process_time()
        found = commit(service, [row(1440, 2 * places)])
        assert found.outcome.counts["learnt"] == places
        return (time.process_time() - began) / places

    assert min(seconds(20_000) for _ in range(2)) < 5 * min(seconds(200) for _ in range(2))


def test_what_arrives_costs_the_same_whatever_waits_beside_it() -> None:
    """200 rows more, while 200 labels wait, and while 20,000 do."""
    slow = FAN.model_copy(update={"label": FAN.label.model_copy(update={"arrives_after": timedelta(days=1)})})

    def seconds(places: int) -> float:
        service = started(slow)
        commit(service, [e for n in range(places) for e in (row(0, n, f"room-{n}"), label(0, 1.0, n, 1440, f"room-{n}"))])
        more = [row(1, 2 * places + 1 + n, f"room-{n}") for n in range(200)]
        commit(service, [row(1, 2 * places)])  # which lets go of the batch before it
        began = time.process_time()
        commit(service, more)
        return time.process_time() - began

    assert min(seconds(20_000) for _ in range(2)) < 5 * min(seconds(200) for _ in range(2))


@pytest.mark.parametrize("spoilt", [b"{", b'{"use_case":"fan_speed","took":{},"learner":{"learnt":3}}', b"\xff"])
def test_a_checkpoint_that_is_none_becomes_a_dead_letter_with_the_first_commit(spoilt: bytes) -> None:
    service = started(checkpoints=[Record(CHECKPOINT_TOPIC, 0, 7, NOW, "fan_speed", spoilt, "")])
    found = commit(service, [row(0)])
    (letter,) = [msgspec.json.decode(e.value, type=DeadLetter) for e in found.outcome.emits if e.topic == DeadLetter.topic_name]
    assert (letter.source, letter.service, letter.original) == (CHECKPOINT_TOPIC, "online", spoilt)
    assert letter.reason.startswith("not a checkpoint of fan_speed: ")
    assert found.outcome.counts["checkpoint_unusable"] == 1
    again = commit(service, [row(1, 1)])
    assert [e for e in again.outcome.emits if e.topic == DeadLetter.topic_name] == []


def test_a_batch_that_concerns_nobody_writes_no_checkpoint() -> None:
    stranger = row(0, 0, "cellar")
    found = commit(started(), [stranger])
    assert found.outcome.counts["passed"] == 1
    assert found.outcome.emits == []


def test_a_label_that_is_no_class_is_refused_and_nothing_is_learnt_from_it() -> None:
    state = State(FAN)
    out = observe([row(0, temperature_avg=20.0), label(0, 1.5, 1), row(11, 2)], state)
    assert (out.counts["read"], out.counts["used"], out.counts["rejected"]) == (3, 2, 1)
    assert state.learner.version == "online-0"


def test_a_refusal_behind_a_record_that_waits_is_kept_for_its_turn() -> None:
    bad = row(1, 1)._replace(value=b"{broken")
    states = {"fan_speed": State(FAN)}
    waiting = online.Waiting((ROWS, LABELS))
    waiting.add(online.read([row(0), bad], states))
    assert waiting.ready(frozenset()) == []  # the labels may still hold something earlier
    out = Outcome("online", NOW)
    online.observe(waiting.ready(frozenset({LABELS})), states, out)
    assert (out.counts["read"], out.counts["used"], out.counts["rejected"]) == (2, 1, 1)
    assert sum(emit.topic == "stream-deadletter" for emit in out.emits) == 1
