"""Kafka transactions that are safe with librdkafka: a producer is thrown away after every doubt.

librdkafka speaks transactions v1: when an EndTxn request is slow it is sent again
on a new connection, the call returns OK, and the first one may still arrive during the *next* transaction and end that one (KIP-890
describes the hole; only transactions v2 closes it). So no transaction is ever begun on a producer after an abort, after a timeout of a
commit, or after such a hidden resend: a new producer's ``init_transactions`` raises the epoch, which fences whatever is still under way,
and reading goes on from the committed offsets. See ``docs/decisions/late-commit.md``.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from mliot.clock import Deadline
from mliot.errors import Fatal, Transient
from streaming.kafkaclient import LONGEST_CALL_S, KafkaSettings, produce
from streaming.ports import Emit, Rewound


class _ResendWatch(logging.Handler):
    """Remembers whether librdkafka logged a lost connection or a request timed out: the only sign of a hidden resend."""

    SIGNS = ("REQTMOUT", "FAIL", "TIMEOUT")

    def __init__(self) -> None:
        super().__init__()
        self.seen = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(sign in text for sign in self.SIGNS):
            self.seen = text


class Transactions:
    """One transaction after another, each on a producer that no doubt hangs over."""

    def __init__(self, settings: KafkaSettings, on_error: Callable[[KafkaError], None]) -> None:
        self._settings = settings
        self._on_error = on_error
        self._producer: Producer | None = None
        self._watch = _ResendWatch()

    def ready(self) -> Producer:
        """The producer, made where there is none: whatever an earlier one left under way is fenced, and its transaction ended.

        Raises :class:`Transient` while Kafka is away, :class:`Fatal` where it refuses.
        """
        if self._producer is None:
            self._watch = _ResendWatch()
            logger = logging.Logger(f"kafka.{self._settings.service}")
            logger.addHandler(self._watch)
            longest_ms = int(self._settings.transaction_s * 1000)
            config = self._settings.producer(
                **{
                    "transactional.id": f"{self._settings.group}-{self._settings.instance}",
                    "transaction.timeout.ms": longest_ms,
                    "message.timeout.ms": longest_ms,
                    # the default of 100 ms makes each next transaction sleep on CONCURRENT_TRANSACTIONS
                    "retry.backoff.ms": 1,
                    "retry.backoff.max.ms": 20,
                    "error_cb": self._on_error,
                }
            )
            producer = Producer(config, logger=logger)
            try:
                producer.init_transactions(LONGEST_CALL_S)
            except KafkaException as error:
                if error.args[0].fatal():
                    raise Fatal(f"transactions of {config['transactional.id']}: {error.args[0].str()}") from error
                raise Transient(f"Kafka at {self._settings.bootstrap}: transactions are not to be had: {error.args[0].str()}") from error
            self._producer = producer
        return self._producer

    def commit(self, emits: Iterable[Emit], offsets: Sequence[TopicPartition], group: Any, budget: Deadline) -> None:
        """Records and offsets in one transaction. Whatever goes wrong, the producer is dropped and :class:`Rewound` raised."""
        producer = self.ready()
        producer.poll(0)  # an idle connection that was closed since the last commit raises no doubt
        self._watch.seen = ""
        try:
            producer.begin_transaction()  # 1
            for emit in emits:  # 2
                produce(producer, emit)
                if budget.passed():
                    raise BufferError("the budget of the transaction is used up")
            if offsets:
                producer.send_offsets_to_transaction(list(offsets), group, budget.left())  # 3
            producer.commit_transaction(budget.left())  # 4, flushes first
        except (KafkaException, BufferError) as error:
            self.drop()
            raise Rewound(f"the transaction did not commit: {error}") from error
        producer.poll(0)  # 5, serves the log lines that tell of a hidden resend
        if seen := self._watch.seen:
            self.drop()
            raise Rewound(f"the commit may have been sent twice: {seen}")

    def drop(self) -> None:
        """Lets go of the producer; the next one fences what it left under way."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
