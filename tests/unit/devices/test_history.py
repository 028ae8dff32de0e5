from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from devices.history import merged
from devices.outgoing import Outgoing


def stream(times: list[int]) -> Iterator[Outgoing]:
    return iter([Outgoing(at_ms, "t", b"", f"{at_ms}") for at_ms in sorted(times)])


@given(st.lists(st.lists(st.integers(0, 1000))))
def test_all_streams_in_one_in_time_order(streams: list[list[int]]) -> None:
    assert [outgoing.event_ms for outgoing in merged(map(stream, streams))] == sorted(at_ms for times in streams for at_ms in times)


def test_nothing_is_asked_for_before_it_is_needed() -> None:
    def endless() -> Iterator[Outgoing]:
        at_ms = 0
        while True:
            yield Outgoing(at_ms, "t", b"", f"{at_ms}")
            at_ms += 1

    assert [next(merged([endless(), endless()])).event_ms for _ in range(3)] == [0, 0, 0]
