"""What is gathered from the log, record by record, foreign ones between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.audit import LogRecord
from lineage.decide_again.past import Address, Asked, choose, read_labels, read_rows, read_windows, slim
from mliot.messages import Feature, Label, Prediction, Window
from usecases import load_use_cases

FOREIGN = LogRecord(0, 0, b"\xff{")


def row(start: int, version: str = "f1", model: str = "features_place_1m", **values: float) -> Feature:
    return Feature(
        feature_id=f"place_1m:room-1@{start}", model=model, version=version, grain="place_1m", key="room-1", place_id="room-1",
        start_ms=start, end_ms=start + 60_000, frames=2, first="stream-frame-0-1", last="stream-frame-0-2", made_ms=1, values=values,
    )  # fmt: skip


def prediction(start: int, version: str = "v1") -> Prediction:
    return Prediction.of(row(start), use_case="fan_speed", horizon_ms=0, model_version=version, made_ms=1, value=1.0)


def logged(*messages) -> list[LogRecord]:
    return [FOREIGN, *(LogRecord(0, offset + 1, message.encode()) for offset, message in enumerate(messages))]


@pytest.mark.parametrize("text", ["stream-frame-0-5", "a-topic-with-dashes-12-34567"])
def test_an_address_is_read_back(text: str) -> None:
    assert "-".join(map(str, Address.of(text))) == text


@given(st.permutations(list(range(30))), st.integers(1, 40), st.integers(0, 3))
def test_a_sample_is_the_same_in_whatever_order_partitions_are_read(order: list[int], size: int, seed: int) -> None:
    sampled = [
        set(choose(logged(*(prediction(n) for n in some)), Asked(sample=size, seed=seed)).predictions) for some in (order, range(30))
    ]
    assert sampled[0] == sampled[1]
    assert len(sampled[0]) == min(size, 30)


def test_predictions_are_chosen_by_their_id_or_by_their_row() -> None:
    log = logged(prediction(0), prediction(0, "online-10"), prediction(60_000), prediction(120_000))
    asked = Asked(predictions=frozenset({prediction(60_000).id}), rows=frozenset({row(0).id}))
    chosen = choose(log, asked)
    assert list(chosen.predictions) == [prediction(0).id, prediction(0, "online-10").id, prediction(60_000).id]
    assert chosen.total == 4


def test_rows_are_kept_whole_where_they_are_asked_for_and_slim_as_events() -> None:
    log = logged(row(0, a=1.0, b=2.0), row(60_000, a=3.0, b=4.0), row(0, model="features_of_nobody"), row(120_000, version="f0", a=5.0))
    wanted = frozenset({row(60_000).id})
    rows = read_rows(log, wanted=wanted, versions={"features_place_1m": "f1"}, columns={"features_place_1m": frozenset({"a"})})
    assert {id: served.address for id, served in rows.wanted.items()} == {row(60_000).id: Address("stream-feature", 0, 2)}
    assert [(item.record.offset, item.message.values, item.time_ms) for item in rows.events] == [
        (1, {"a": 1.0}, 60_000),
        (2, {"a": 3.0}, 120_000),
        (4, {"a": 5.0}, 180_000),
    ]
    assert rows.others == {("features_place_1m", "room-1"): 120_000}


def test_a_slim_row_lacks_what_the_row_lacks() -> None:
    assert slim(row(0, a=1.0, b=2.0), frozenset({"a", "c"})).values == {"a": 1.0}


def test_a_window_is_evidence_the_first_time_it_is_seen() -> None:
    def window(start: int, grain: str = "place_1m", frames: int = 2) -> Window:
        return Window(
            window_id=f"{grain}:room-1@{start}", grain=grain, key="room-1", place_id="room-1", start_ms=start, end_ms=start + 60_000,
            frames=frames, first="stream-frame-3-1", last="stream-frame-3-9", values={},
        )  # fmt: skip

    log = logged(window(0), window(0, frames=7), window(60_000), window(0, "sensor_1m"))
    evidence, served = read_windows(log, grains=frozenset({"place_1m"}), wanted=frozenset({window(60_000).id}))
    assert [(e.start_ms, e.frames, e.last.offset) for e in evidence] == [(0, 2, 9), (60_000, 2, 9)]
    assert list(served) == [window(60_000).id]


def test_labels_that_the_learner_refuses_are_no_events() -> None:
    def label(value: float, use_case: str = "fan_speed") -> Label:
        return Label(use_case=use_case, feature_id=row(0).id, key="room-1", place_id="room-1", label_ms=1, available_ms=2, value=value)

    events = read_labels(logged(label(2.0), label(9.0), label(1.0, "of_nobody")), load_use_cases())
    assert [event.message.value for event in events] == [2.0]
