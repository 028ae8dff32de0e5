"""The watermark's rules, one test each. Times in seconds on the drawn lines, event time upwards."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.features.watermark import Watermark
from streaming.runtime.effects import Partition

A, B = Partition("stream-frame", 0), Partition("stream-frame", 1)
NONE: frozenset[Partition] = frozenset()


def watermark(**changes) -> Watermark:
    return Watermark(**{"grace_ms": 5_000, "idle_ms": 10_000, "started_ms": 0} | changes)


def test_it_is_the_minimum_over_partitions_less_the_grace() -> None:
    # A  ----------------60
    # B  -------40            ->  35
    w = watermark()
    w.observe({A: 60_000, B: 40_000}, 1_000)
    assert w.advance([A, B], NONE, 1_000) == 35_000


def test_a_partition_that_was_not_read_yet_holds_it_back() -> None:
    w = watermark()
    w.observe({A: 60_000}, 1_000)
    assert w.advance([A, B], frozenset({A}), 2_000) == 0


def test_a_partition_read_to_its_end_and_silent_holds_it_no_longer() -> None:
    w = watermark()
    w.observe({A: 60_000, B: 40_000}, 1_000)
    w.observe({A: 90_000}, 12_000)
    assert w.advance([A, B], frozenset({B}), 10_999) == 35_000
    assert w.advance([A, B], frozenset({B}), 11_000) == 85_000


def test_a_silent_partition_with_records_left_to_read_still_holds_it() -> None:
    w = watermark()
    w.observe({A: 60_000, B: 40_000}, 1_000)
    assert w.advance([A, B], frozenset({A}), 60_000) == 35_000


def test_where_all_are_silent_the_clock_moves_it() -> None:
    w = watermark()
    w.observe({A: 60_000, B: 40_000}, 61_000)
    assert w.advance([A, B], frozenset({A, B}), 75_000) == 70_000
    assert w.by == "clock"


def test_the_clock_does_not_move_it_before_the_first_frame() -> None:
    w = watermark()
    assert w.advance([A, B], frozenset({A, B}), 3_600_000) == 0


def test_it_never_goes_back() -> None:
    w = watermark(ms=80_000)
    w.observe({A: 60_000}, 1_000)
    assert w.advance([A], NONE, 1_000) == 80_000


def test_late_records_do_not_take_back_a_partitions_latest() -> None:
    w = watermark()
    w.observe({A: 60_000}, 1_000)
    w.observe({A: 10_000}, 2_000)
    assert w.advance([A], NONE, 2_000) == 55_000


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 10**6), st.booleans()), max_size=40))
def test_it_is_monotone_and_never_ahead_of_what_an_awake_partition_showed(steps) -> None:
    w = watermark()
    now, before = 0, 0
    for partition, event_ms, quiet in steps:
        now += 20_000 if quiet else 100
        w.observe({partition: event_ms}, now)
        after = w.advance([A, B], frozenset({A, B}), now)
        assert after >= before
        assert after <= max(before, max(w.latest.values()) - w.grace_ms)
        before = after
