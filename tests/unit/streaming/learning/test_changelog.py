"""What the topic holds is the state, to the last bit, wherever the process ends and whatever the log cleaner takes."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.messages import CHECKPOINT_TOPIC
from streaming.learning import changelog as module
from streaming.learning.changelog import Changelog, Head, read_head, restored
from streaming.learning.state import PATIENCE_MS, State
from streaming.runtime.effects import Emit, Record
from tests.unit.streaming.learning.test_state import label, observe, row
from usecases import load_use_cases

FAN = load_use_cases()["fan_speed"]


class Topic:
    """The checkpoint topic in one partition."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, emits: list[Emit]) -> None:
        self.records += [Record(e.topic, 0, len(self.records) + n, 0, e.key, e.value, "") for n, e in enumerate(emits)]

    def compact(self, before: int) -> None:
        """What Kafka's log cleaner leaves of the first so many records."""
        newest = {record.key: record.offset for record in self.records[:before]}
        self.records = [r for n, r in enumerate(self.records) if n >= before or (newest[r.key] == r.offset and r.value)]

    def restored(self, piece_bytes: int = module.MAX_PIECE_BYTES) -> Changelog:
        logs, unusable = restored(self.records, {"fan_speed": FAN}, piece_bytes=piece_bytes)
        assert unusable == []
        return logs["fan_speed"]


def contents(log: Changelog) -> bytes:
    """All that the state is, and how the log goes on."""
    state = log.state
    held = [sorted(map(msgspec.structs.astuple, held.values())) for held in (state.rows, state.labels)]
    return msgspec.json.encode((state.learner.state(), state.event_ms, held, state.changed))


EVENTS = st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 120), st.integers(-5, 90))
BATCHES = st.lists(st.tuples(st.lists(EVENTS, max_size=8), st.booleans(), st.integers(0, 100)), max_size=25)


@given(BATCHES, st.sampled_from([1, 5_000, module.MAX_PIECE_BYTES]), st.sampled_from([0, 1000]))
def test_a_restart_anywhere_goes_on_to_the_last_bit(batches, piece_bytes: int, slack: int) -> None:
    topic, log, counts = Topic(), Changelog(State(FAN), piece_bytes=piece_bytes), Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLACK", slack)
        patch.setattr(module, "MAX_TIMES", 2)
        for number, (events, restart, cleaned) in enumerate(batches, 1):
            for is_label, place, ahead, delay in events:
                name, minute = f"room-{place}", number + ahead  # time goes on
                told = label(name, minute, 1.0, delay * 60_000) if is_label else row(name, minute, temperature_avg=minute)
                observe(log.state, told, place % 2, counts)
            topic.add(log.write({"stream-feature-0": (number, number)}))
            topic.compact(len(topic.records) * cleaned // 100)
            if restart:
                again = topic.restored(piece_bytes)
                assert contents(again) == contents(log)
                log = again
            else:
                assert contents(topic.restored(piece_bytes)) == contents(log)
            if slack == 0:
                assert sum(batch.size for batch in log.batches) <= 2 * (len(log.state.rows) + len(log.state.labels)) + 2 * len(events)


def minutes(log: Changelog, topic: Topic, span: range, places: int, labelled: int) -> None:
    for minute in span:
        for place in range(places):
            observe(log.state, row(f"room-{place}", minute), 0, Counter())
            if place < labelled:
                observe(log.state, label(f"room-{place}", minute), 0, Counter())
        topic.add(log.write({}))


def test_the_topic_holds_a_few_times_what_waits_however_long_it_runs() -> None:
    """Ten rooms, of which nine are labelled: a day, cleaned by the hour."""
    topic, log = Topic(), Changelog(State(FAN))
    for hour in range(24):
        minutes(log, topic, range(60 * hour, 60 * hour + 60), 10, 9)
        topic.compact(len(topic.records))
        held = len(log.state.rows)
        assert held < 200
        assert sum(batch.size for batch in log.batches) <= module.MAX_TIMES * held + module.SLACK
        assert len(topic.records) <= 71 + 60 + 1
    assert contents(topic.restored()) == contents(log)


def test_what_waits_in_a_silent_partition_does_not_keep_everything_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves to newer batches, so that the old ones can be taken back."""
    monkeypatch.setattr(module, "SLACK", 50)
    topic, log = Topic(), Changelog(State(FAN))
    observe(log.state, row("silent", 0), 1, Counter())
    minutes(log, topic, range(2000), 3, 3)
    topic.compact(len(topic.records))
    head = read_head(topic.records[-1].value)
    assert head.number - head.first < 80
    assert len(topic.records) < 80
    assert "place_1m:silent@0" in topic.restored().state.rows


def test_a_batch_is_written_in_pieces_that_are_bounded_and_together_whole() -> None:
    topic, log, rng = Topic(), Changelog(State(FAN), piece_bytes=20_000), random.Random(3)
    for place in range(300):
        observe(log.state, row(f"room-{place}", 0, **{column: rng.random() for column in FAN.columns}), 0, Counter())
    emits = log.write({})
    assert len(emits) > 10
    assert max(len(emit.value) for emit in emits) <= 20_000
    topic.add(emits)
    assert contents(topic.restored()) == contents(log)


def test_a_missing_piece_is_told_of_and_the_rest_goes_on() -> None:
    topic, log = Topic(), Changelog(State(FAN), piece_bytes=1)
    minutes(log, topic, range(3), 2, 0)
    del topic.records[0]
    logs, ((record, why),) = restored(topic.records, {"fan_speed": FAN})
    assert record.key == "fan_speed"
    assert why == "a piece of checkpoint 3 of fan_speed is missing: 5 rows and 0 labels were found of the 6 and 0 that wait"
    assert len(logs["fan_speed"].state.rows) == 5


def test_a_missing_piece_is_seen_also_where_as_much_came_as_went() -> None:
    topic, log = Topic(), Changelog(State(FAN))
    minutes(log, topic, range(30), 2, 2)
    topic.records = [record for record in topic.records if not record.key.startswith("fan_speed/29/")]
    logs, ((_, why),) = restored(topic.records, {"fan_speed": FAN})
    assert "a piece of checkpoint 30 of fan_speed is missing" in why
    assert not logs["fan_speed"].whole


@pytest.mark.parametrize("spoilt", [b"{", b"\xff", b'"\xff"', b'{"use_case":"fan_speed","took":{},"learner":{"learnt":3}}'])
def test_a_head_that_is_none_is_told_of_and_the_one_before_it_goes_on(spoilt: bytes) -> None:
    """What the spoilt one's batch had written is taken back: its number is never used again."""
    topic, log = Topic(), Changelog(State(FAN), piece_bytes=1)
    minutes(log, topic, range(2), 2, 1)
    before = contents(log)
    kept = len(topic.records)
    minutes(log, topic, range(2, 3), 4, 1)
    topic.records[-1] = topic.records[-1]._replace(value=spoilt)
    stranger = topic.records[0]._replace(key="nobody/1/0", offset=99)
    logs, ((record, why),) = restored([*topic.records, stranger], {"fan_speed": FAN}, piece_bytes=1)
    again = logs["fan_speed"]
    assert (record, contents(again)) == (topic.records[-1], before)
    assert why.startswith("not a checkpoint of fan_speed: ")
    minutes(again, topic, range(3, 4), 1, 1)
    assert contents(topic.restored()) == contents(again)
    tombstones = {record.key for record in topic.records if not record.value}
    assert {record.key for record in topic.records[kept:] if record.key.startswith("fan_speed/3/")} == tombstones


def test_a_piece_that_is_none_is_told_of_and_taken_back() -> None:
    topic, log = Topic(), Changelog(State(FAN))
    minutes(log, topic, range(2), 2, 0)
    topic.records.append(Record(CHECKPOINT_TOPIC, 0, 50, 0, "fan_speed/x", b"{}", ""))
    logs, ((record, why),) = restored(topic.records, {"fan_speed": FAN})
    assert (record.key, contents(logs["fan_speed"])) == ("fan_speed/x", contents(log))
    assert why.startswith("not a piece of a checkpoint of fan_speed: ")
    minutes(logs["fan_speed"], topic, range(2, 3), 2, 0)
    assert contents(topic.restored()) == contents(logs["fan_speed"])


def test_columns_that_changed_meanwhile_keep_the_values_that_they_have_in_common() -> None:
    topic, log = Topic(), Changelog(State(FAN))
    observe(log.state, row("room-1", 0, temperature_avg=21.0, humidity_avg=50.0), 0, Counter())
    topic.add(log.write({}))
    changed = FAN.model_copy(update={"columns": ("humidity_avg", "noise_avg")})
    logs, unusable = restored(topic.records, {"fan_speed": changed})
    (held,) = logs["fan_speed"].state.rows.values()
    assert unusable == []
    assert module.unpacked(held.values, changed.columns) == {"humidity_avg": 50.0}


def test_a_model_of_an_earlier_version_is_gone_on_with() -> None:
    """Its checkpoint held event time by place and nothing of what waits."""
    state = State(FAN)
    for minute in range(30):
        state.learner.learn({"temperature_avg": float(minute)}, 1.0)
    old = {"use_case": "fan_speed", "took": {"stream-feature-0": (3, 9)}, "times": {"room-1": 60_000}, "learner": state.learner.state()}
    logs, unusable = restored([Record(CHECKPOINT_TOPIC, 0, 0, 0, "fan_speed", msgspec.json.encode(old), "")], {"fan_speed": FAN})
    assert unusable == []
    assert logs["fan_speed"].state.learner.version == "online-30"
    head = msgspec.json.decode(logs["fan_speed"].write({})[-1].value, type=Head)
    assert (head.number, head.rows, head.event_ms) == (1, 0, {})


def test_patience_is_an_hour() -> None:
    """The simulation's checker, which shares no code with this, says so too."""
    assert PATIENCE_MS == 3_600_000
