"""Rows and labels find each other whatever came first; what can not any more is forgotten by the rule, and counted."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.messages import Feature, Label
from streaming.learning import state as module
from streaming.learning.state import PATIENCE_MS, UNLABELLED, State, packed, unpacked
from usecases import load_use_cases

MINUTE = 60_000
FAN = load_use_cases()["fan_speed"]
KEPT = FAN.delay_ms + PATIENCE_MS


def row(place: str, minute: int, **values: float) -> Feature:
    start = minute * MINUTE
    return Feature(
        feature_id=f"place_1m:{place}@{start}", model="features_place_1m", version="f", grain="place_1m", key=place, place_id=place,
        start_ms=start, end_ms=start + MINUTE, frames=1, first="", last="", made_ms=start, values=values,
    )  # fmt: skip


def label(place: str, minute: int, value: float = 1.0, delay_ms: int = FAN.delay_ms) -> Label:
    start = minute * MINUTE
    return Label(
        use_case="fan_speed", feature_id=f"place_1m:{place}@{start}", key=place, place_id=place, label_ms=start + MINUTE,
        available_ms=max(0, start + MINUTE + delay_ms), value=value,
    )  # fmt: skip


def observe(state: State, message: Feature | Label, partition: int, counts: Counter[str]) -> None:
    if isinstance(message, Label):
        state.observe_label(message, partition, counts)
    else:
        state.advance(partition, message.end_ms, counts)
        state.observe_row(message, partition, counts)


@given(st.data())
def test_every_label_within_its_time_is_learnt_once_whatever_came_first(data: st.DataObject) -> None:
    """Rows in order in each partition; each label at any time until its row would be forgotten, also before it, also twice."""
    minutes = data.draw(st.integers(1, 30))
    rows = [(row(f"room-{p}", m), p) for m in range(minutes) for p in range(2)]
    places = list(range(len(rows)))
    arrivals = [(float(n), 0, message, p) for n, (message, p) in enumerate(rows)]
    named = data.draw(st.lists(st.sampled_from(places), unique=True))
    for n in named:
        for _ in range(data.draw(st.integers(1, 2))):
            at = data.draw(st.sampled_from(places)) - 0.5
            arrivals.append((at, 1, label(f"room-{rows[n][1]}", n // 2, 2.0), data.draw(st.integers(0, 1))))
    state, counts = State(FAN), Counter[str]()
    for _, _, message, partition in sorted(arrivals, key=lambda each: each[:2]):
        observe(state, message, partition, counts)
    for partition in range(2):
        observe(state, row(f"room-{partition}", minutes + 10), partition, counts)
    assert counts["learnt"] == len(named)
    assert counts["row_forgotten"] == counts["label_forgotten"] == 0
    assert len(state.rows) == len(rows) - len(named) + 2


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 300), st.integers(-30, 200)), max_size=80))
def test_nothing_disappears_uncounted(events: list[tuple[bool, int, int, int]]) -> None:
    """Rows and labels of any time in any order, none of them twice: each waits, was learnt, or was forgotten and counted."""
    state, counts, seen = State(FAN), Counter[str](), set()
    rows = labels = 0
    for is_label, place, minute, delay in events:
        if (is_label, place, minute) in seen:
            continue
        seen.add((is_label, place, minute))
        rows, labels = rows + (not is_label), labels + is_label
        message = label(f"room-{place}", minute, 1.0, delay * MINUTE) if is_label else row(f"room-{place}", minute)
        observe(state, message, place % 2, counts)
    labelled = sum(held.available_ms != UNLABELLED for held in state.rows.values())
    assert rows == len(state.rows) + counts["learnt"] + counts["row_forgotten"]
    assert labels == len(state.labels) + labelled + counts["learnt"] + counts["label_forgotten"]
    now = state.event_ms
    assert all(held.end_ms >= now[held.partition] - KEPT for held in state.rows.values())
    assert all(held.available_ms > now[held.partition] for held in state.rows.values() if held.available_ms != UNLABELLED)
    assert all(held.available_ms >= now.get(held.partition, 0) - PATIENCE_MS for held in state.labels.values())


def test_of_two_labels_the_newer_one_counts_until_it_is_learnt() -> None:
    state, counts = State(FAN), Counter[str]()
    for message in (row("room-1", 0), label("room-1", 0, 1.0), label("room-1", 0, 3.0), row("room-1", 10), label("room-1", 0, 2.0)):
        observe(state, message, 0, counts)
    assert counts["learnt"] == 1
    assert list(state.learner.state().weights) == [3]
    assert list(state.labels) == [label("room-1", 0).feature_id]  # for a row that is gone: forgotten in time
    observe(state, row("room-1", 72), 0, counts)
    assert counts["label_forgotten"] == 1


def test_a_place_that_falls_silent_is_forgotten_with_the_time_of_its_partition() -> None:
    state, counts = State(FAN), Counter[str]()
    observe(state, row("room-1", 0), 0, counts)
    observe(state, row("room-2", KEPT // MINUTE), 0, counts)
    assert len(state.rows) == 2
    observe(state, row("room-2", KEPT // MINUTE + 1), 0, counts)
    assert (counts["row_forgotten"], len(state.rows)) == (1, 2)
    observe(state, row("room-1", 0), 0, counts)  # and one that comes when it would be forgotten already is not kept
    assert (counts["row_forgotten"], len(state.rows)) == (2, 2)


def test_labels_without_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNMATCHED", 3)
    state, counts = State(FAN), Counter[str]()
    for minute in range(5):
        observe(state, label("room-1", minute), 0, counts)
    observe(state, label("room-1", 0, 2.0), 0, counts)
    assert (len(state.labels), counts["label_forgotten"]) == (3, 2)
    assert state.labels[label("room-1", 0).feature_id].label == 2.0


def test_a_label_that_would_come_after_its_row_is_forgotten_is_so_itself() -> None:
    state, counts = State(FAN), Counter[str]()
    observe(state, row("room-1", 0), 0, counts)
    observe(state, label("room-1", 0, delay_ms=KEPT + 1), 0, counts)
    assert counts["label_forgotten"] == 1
    observe(state, label("room-1", 0, delay_ms=KEPT), 0, counts)
    observe(state, row("room-1", KEPT // MINUTE), 0, counts)
    assert counts["learnt"] == 1


def test_a_day_of_delay_is_kept_for_a_day() -> None:
    slow = FAN.model_copy(update={"label": FAN.label.model_copy(update={"arrives_after": timedelta(days=1)})})
    state, counts = State(slow), Counter[str]()
    for minute in range(1440):
        observe(state, row("room-1", minute), 0, counts)
        observe(state, label("room-1", minute, delay_ms=slow.delay_ms), 0, counts)
    assert (counts["learnt"], len(state.rows)) == (0, 1440)
    observe(state, row("room-1", 1440), 0, counts)
    assert (counts["learnt"], len(state.rows)) == (1, 1440)


@given(st.dictionaries(st.sampled_from([*FAN.columns, "other"]), st.floats(allow_nan=False, allow_infinity=False)))
def test_values_are_kept_to_the_last_bit_and_in_the_order_of_the_columns(values: dict[str, float]) -> None:
    found = unpacked(packed(values, FAN.columns), FAN.columns)
    assert list(found.items()) == [(column, values[column]) for column in FAN.columns if column in values]
