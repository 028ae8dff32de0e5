"""Kafka transactions that are safe with librdkafka: a producer is thrown away after every doubt.

librdkafka speaks transactions v1: when an EndTxn request is slow it is sent again
on a new connection, the call returns OK, and the first one may still arrive during the *next* transaction and end that one (KIP-890
describes the hole; only transactions v2 closes it). So no transaction is ever begun on a producer after an abort, after a timeout of a
commit, or after such a hidden resend: a new producer's ``init_transactions`` raises the epoch, which fences whatever is still under way,
and reading goes on from the committed offsets. See ``docs/decisions/late-commit.md``.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from mliot.clock import Clock, Deadline
from mliot.errors import Fatal, Transient
from streaming.kafkaclient import LONGEST_CALL_S, KafkaSettings, produce
from streaming.ports import Commit, Rewound


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
    """One transaction after another, each on a producer that no doubt hangs over.

    A transaction runs in a thread of its own, since ``send_offsets_to_transaction`` may ignore its timeout and never return
    (librdkafka#5456, seen when Kafka was killed): this way the service can say that it waits, and end once the budget is used up.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock, on_error: Callable[[KafkaError], None]) -> None:
        self._settings = settings
        self._clock = clock
        self._on_error = on_error
        self._producer: Producer | None = None
        self._watch = _ResendWatch()
        self._running: _Transaction | None = None

    def ready(self) -> Producer:
        """The producer, made where there is none: whatever an earlier one left under way is fenced, and its transaction ended.

        A transaction that a rebalance left running is waited for first; its failure is what the rebalance says already.

        Raises :class:`Transient` while Kafka is away, :class:`Fatal` where it refuses.
        """
        with suppress(Rewound):
            self._settle()
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
                    "log_level": 6,  # read by the watch, printed nowhere
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

    def commit(self, effect: Commit, group: Any) -> None:
        """Records and positions in one transaction. Performed again after a :class:`Transient`, it waits on.

        Whatever goes wrong, the producer is dropped and :class:`Rewound` raised; :class:`Fatal` where the client does not come back.
        """
        if self._running is None:
            producer = self.ready()
            producer.poll(0)  # an idle connection that was closed since the last commit raises no doubt
            self._watch.seen = ""
            self._running = _Transaction(producer, effect, group, Deadline.after(self._clock, self._settings.transaction_s))
        self._settle()
        assert self._producer is not None
        self._producer.poll(0)  # serves the log lines that tell of a hidden resend
        if seen := self._watch.seen:
            self.drop()
            raise Rewound(f"the commit may have been sent twice: {seen}")

    def _settle(self) -> None:
        """Returns when no transaction runs any more; raises what became of one that failed."""
        if self._running is None:
            return
        failure = self._running.outcome(LONGEST_CALL_S / 2)
        self._running = None
        if failure is not None:
            self.drop()
            raise Rewound(f"the transaction did not commit: {failure}") from failure

    def drop(self) -> None:
        """Lets go of the producer; the next one fences what it left under way."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None


class _Transaction:
    """One transaction in a thread of its own. The steps share one deadline."""

    def __init__(self, producer: Producer, effect: Commit, group: Any, budget: Deadline) -> None:
        self._producer, self._effect, self._group, self._budget = producer, effect, group, budget
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="transaction", daemon=True)
        self._thread.start()

    def outcome(self, wait_s: float) -> Exception | None:
        """None where it committed, else why not. Raises :class:`Transient` while it runs, :class:`Fatal` where it overran its budget."""
        self._thread.join(wait_s)
        if not self._thread.is_alive():
            return self._failure
        if self._budget.passed():
            raise Fatal("Kafka's client does not come back from a transaction; a new process fences it")
        raise Transient("Kafka: a transaction is not committed yet")

    def _run(self) -> None:
        offsets = [TopicPartition(p.topic, p.number, at.offset, at.note) for p, at in self._effect.positions.items()]
        try:
            self._producer.begin_transaction()  # 1
            for emit in self._effect.outcome.emits:  # 2
                produce(self._producer, emit)
                if self._budget.passed():
                    raise BufferError("the budget of the transaction is used up")
            if offsets:
                self._producer.send_offsets_to_transaction(offsets, self._group, self._budget.left())  # 3
            self._producer.commit_transaction(self._budget.left())  # 4, flushes first
        except Exception as error:  # whatever it is, it is raised to the service, which starts over
            self._failure = error
