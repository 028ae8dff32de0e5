"""How far behind a reader is: never guessed, never waited for."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import OffsetSpec
from hypothesis import given
from hypothesis import strategies as st

from mliot.clock import ManualClock
from streaming.kafka.logends import ASKED_EVERY_S, LogEnds, Span, records_behind
from streaming.runtime.effects import Partition

PARTITION = Partition("stream-frame", 0)
OFFSETS = st.integers(0, 10**6)


def test_it_is_what_lies_between_position_and_end_and_has_not_expired() -> None:
    other = Partition("stream-frame", 1)
    spans = {PARTITION: Span(0, 100), other: Span(50, 60)}
    assert records_behind({PARTITION: 90, other: 0}, spans) == 10 + 10


@pytest.mark.parametrize("at", [{}, {PARTITION: 3, Partition("stream-frame", 1): 3}], ids=["nothing assigned", "an end not known"])
def test_it_is_not_known_where(at: dict[Partition, int]) -> None:
    assert records_behind(at, {PARTITION: Span(0, 100)}) is None


@given(OFFSETS, OFFSETS, OFFSETS)
def test_it_is_never_negative_nor_more_than_the_partition_holds(at: int, one: int, other: int) -> None:
    begin, end = sorted((one, other))
    behind = records_behind({PARTITION: at}, {PARTITION: Span(begin, end)})
    assert behind is not None
    assert 0 <= behind <= end - begin
    assert behind == 0 or at < end


class Kafka:
    """An admin client whose answers come when :meth:`answer` is called."""

    def __init__(self) -> None:
        self.asked: list[tuple[OffsetSpec, Future[Any]]] = []

    def list_offsets(self, asked: dict[Any, OffsetSpec], **_: object) -> dict[Any, Future[Any]]:
        futures = {part: Future() for part in asked}
        self.asked += [(asked[part], future) for part, future in futures.items()]
        return futures

    def answer(self, begin: int, end: int, error: Exception | None = None) -> None:
        for spec, future in self.asked:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(SimpleNamespace(offset=end if spec is OffsetSpec.latest() else begin))
        self.asked.clear()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ends(kafka: Kafka, clock: ManualClock) -> LogEnds:
    made = LogEnds(lambda: kafka, clock)  # type: ignore[arg-type, return-value]
    made.follow([PARTITION])
    return made


def test_it_asks_at_once_and_then_now_and_then(ends: LogEnds, kafka: Kafka, clock: ManualClock) -> None:
    assert ends.known() == {}
    kafka.answer(3, 10)
    assert ends.known() == {PARTITION: Span(3, 10)}
    assert kafka.asked == []
    clock.advance(round(ASKED_EVERY_S * 1000))
    assert ends.known() == {PARTITION: Span(3, 10)}, "what was known counts until the next answer"
    kafka.answer(5, 20)
    assert ends.known() == {PARTITION: Span(5, 20)}


def test_while_kafka_is_away_the_ends_are_not_known(ends: LogEnds, kafka: Kafka, clock: ManualClock) -> None:
    ends.known()
    kafka.answer(0, 10)
    ends.known()
    clock.advance(round(ASKED_EVERY_S * 1000))
    ends.known()
    kafka.answer(0, 0, TimeoutError("away"))
    assert ends.known() == {}


def test_other_partitions_begin_with_nothing_known(ends: LogEnds, kafka: Kafka) -> None:
    ends.known()
    kafka.answer(0, 10)
    assert ends.known()
    ends.follow([Partition("stream-frame", 1)])
    assert ends.known() == {}
