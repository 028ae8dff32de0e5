"""Two topics, one order."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.learning.merge import EventTimeMerge, Item
from streaming.runtime.effects import Partition, Record

ROWS, LABELS = Partition("rows", 0), Partition("labels", 0)
NONE: frozenset[Partition] = frozenset()


def item(partition: Partition, offset: int, time_ms: int | None) -> Item[str]:
    return Item(Record(partition.topic, partition.number, offset, 0, "", b"", ""), f"{partition.topic}-{offset}", time_ms)


def merge(*items: Item[str]) -> EventTimeMerge[str]:
    merged: EventTimeMerge[str] = EventTimeMerge([ROWS, LABELS])
    merged.add(items)
    return merged


def names(items: list[Item[str]]) -> list[str]:
    return [each.message for each in items]


def test_a_topic_that_shows_nothing_yet_is_waited_for() -> None:
    # rows    1 2 3
    # labels          (not at its end)
    merged = merge(*(item(ROWS, n, n) for n in (1, 2, 3)))
    assert merged.ready(NONE) == []
    assert merged.held() == {ROWS: 1}
    assert names(merged.ready(frozenset({LABELS}))) == ["rows-1", "rows-2", "rows-3"]
    assert merged.held() == {}


def test_the_earliest_head_goes_first() -> None:
    # rows    1   3   5
    # labels    2   4
    merged = merge(*(item(ROWS, n, n) for n in (1, 3, 5)), *(item(LABELS, n, n) for n in (2, 4)))
    assert names(merged.ready(NONE)) == ["rows-1", "labels-2", "rows-3", "labels-4"]
    assert merged.held() == {ROWS: 5}


def test_what_concerns_nobody_does_not_wait() -> None:
    merged = merge(item(ROWS, 1, None), item(ROWS, 2, 9), item(ROWS, 3, None))
    assert names(merged.ready(NONE)) == ["rows-1"]
    assert merged.held() == {ROWS: 2}


@given(st.lists(st.tuples(st.sampled_from([ROWS, LABELS]), st.none() | st.integers(0, 50)), max_size=30), st.data())
def test_each_topic_keeps_its_order_and_nothing_is_lost(steps, data) -> None:
    merged: EventTimeMerge[str] = EventTimeMerge([ROWS, LABELS])
    taken: list[Item[str]] = []
    sent = [item(partition, offset, time_ms) for offset, (partition, time_ms) in enumerate(steps)]
    for each in sent:
        merged.add([each])
        taken += merged.ready(data.draw(st.sampled_from([NONE, frozenset({ROWS}), frozenset({LABELS})])))
    taken += merged.ready(frozenset({ROWS, LABELS}))
    for partition in (ROWS, LABELS):
        assert [t for t in taken if t.record.topic == partition.topic] == [s for s in sent if s.record.topic == partition.topic]
    assert merged.held() == {}
