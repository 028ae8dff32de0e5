"""A recall reads for as long as it comes forward, however much there is to read."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from mliot.clock import ManualClock
from mliot.errors import Transient
from streaming.kafka import log as log_module
from streaming.kafka.client import KafkaSettings
from streaming.kafka.log import KafkaLog
from streaming.runtime.effects import Recall

SLOW_MS = 20_000
RECORDS = 10


class Message:
    def __init__(self, offset: int, error: Any = None) -> None:
        self._offset, self._error = offset, error

    def topic(self) -> str:
        return "stream-checkpoint"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def error(self) -> Any:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return (1, 1000)

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def headers(self) -> None:
        return None


class EndOfPartition:
    def code(self) -> int:
        return int(KafkaError._PARTITION_EOF)


class SlowConsumer:
    """Hands out one of its answers a call, each of which takes ``SLOW_MS``; then nothing any more."""

    def __init__(self, clock: ManualClock, answers: list[list[Message]]) -> None:
        self._clock, self._answers = clock, answers
        self.closed = False

    def assign(self, _: object) -> None:
        pass

    def consume(self, *_: object) -> list[Message]:
        self._clock.advance(SLOW_MS)
        return self._answers.pop(0) if self._answers else []

    def close(self) -> None:
        self.closed = True


def recalled(monkeypatch: pytest.MonkeyPatch, answers: list[list[Message]]) -> list[int]:
    """The offsets that a recall of so many records brings from a consumer that answers so."""
    clock = ManualClock()
    consumer = SlowConsumer(clock, answers)
    monkeypatch.setattr(log_module, "Consumer", lambda _: consumer)
    monkeypatch.setattr(log_module, "AdminClient", lambda _: None)
    monkeypatch.setattr(log_module, "_offsets", lambda *_: {0: RECORDS})
    try:
        log = KafkaLog(KafkaSettings("127.0.0.1:1", "online", transaction_s=30), clock)
        return [record.offset for record in log.recall(Recall("stream-checkpoint", (0,), 0))]
    finally:
        assert consumer.closed


def test_a_recall_that_comes_forward_may_take_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [[Message(n)] for n in range(RECORDS)] + [[Message(RECORDS, EndOfPartition())]]
    assert recalled(monkeypatch, answers) == list(range(RECORDS))


def test_a_recall_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Transient, match="recall of stream-checkpoint came no further for 30 s"):
        recalled(monkeypatch, [[Message(0)], [Message(1)]])


def test_an_end_short_of_the_log_s_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A committed reader is told so at each transaction that is still open."""
    with pytest.raises(Transient, match="came no further"):
        recalled(monkeypatch, [[Message(0)]] + [[Message(1, EndOfPartition())] for _ in range(100)])
