"""Whatever the order of adding, what is due comes out by time and id, once, and what is not stays."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.learning.timequeue import TimeQueue

ITEMS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcdef")), max_size=40)


@given(ITEMS, ITEMS, st.lists(st.integers(-1, 10), max_size=6))
def test_what_is_due_comes_out_once_in_order(first: list[tuple[int, str]], second: list[tuple[int, str]], times: list[int]) -> None:
    queue, waiting = TimeQueue(), sorted(first)
    for item in first:
        queue.add(*item)
    for ms in times:
        assert list(queue.until(ms)) == [item for item in waiting if item[0] <= ms]
        waiting = [item for item in waiting if item[0] > ms]
    for item in second:
        queue.add(*item)
    assert list(queue.until(10)) == sorted(waiting + second)
    assert list(queue.until(10)) == []
