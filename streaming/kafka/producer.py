"""A transactional producer on a real Kafka. When to throw it away is decided in ``streaming/kafka/transactions.py``."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from mliot.clock import Clock, Deadline
from mliot.errors import Fatal, Transient
from streaming.kafka.client import MAX_CALL_S, KafkaSettings, produce
from streaming.kafka.topicids import marked
from streaming.runtime.effects import Commit


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


class KafkaProducer:
    """Made ready for transactions. Each runs in a thread of its own, since ``send_offsets_to_transaction`` may ignore its timeout and
    never return (librdkafka#5456, seen when Kafka was killed): this way the service can say that it waits, and end once the budget is
    used up.
    """

    def __init__(self, settings: KafkaSettings, clock: Clock, on_error: Callable[[KafkaError], None]) -> None:
        """Raises :class:`Transient` while Kafka is away, :class:`Fatal` where it refuses."""
        self._settings = settings
        self._clock = clock
        self._watch = _ResendWatch()
        self._running: _Transaction | None = None
        logger = logging.Logger(f"kafka.{settings.service}")
        logger.addHandler(self._watch)
        longest_ms = int(settings.transaction_s * 1000)
        config = settings.producer(
            **{
                "transactional.id": f"{settings.group}-{settings.instance}",
                "transaction.timeout.ms": longest_ms,
                "message.timeout.ms": longest_ms,
                # the default of 100 ms makes each next transaction sleep on CONCURRENT_TRANSACTIONS
                "retry.backoff.ms": 1,
                "retry.backoff.max.ms": 20,
                "error_cb": on_error,
                "log_level": 6,  # read by the watch, printed nowhere
            }
        )
        self._producer = Producer(config, logger=logger)
        try:
            self._producer.init_transactions(MAX_CALL_S)
        except KafkaException as error:
            if error.args[0].fatal():
                raise Fatal(f"transactions of {config['transactional.id']}: {error.args[0].str()}") from error
            raise Transient(f"Kafka at {settings.bootstrap}: transactions are not to be had: {error.args[0].str()}") from error

    def begin(self, effect: Commit, group: Any) -> None:
        self._producer.poll(0)  # an idle connection that was closed since the last commit raises no doubt
        self._watch.seen = ""
        self._running = _Transaction(self._producer, effect, group, Deadline.after(self._clock, self._settings.transaction_s))

    def outcome(self) -> Exception | None:
        return self._running.outcome(MAX_CALL_S / 2) if self._running is not None else None

    def doubt(self) -> str:
        self._producer.poll(0)  # serves the log lines that tell of a hidden resend
        return self._watch.seen

    def close(self) -> None:
        self._producer.purge()


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
        offsets = [TopicPartition(p.topic, p.number, at.offset, marked(at)) for p, at in self._effect.positions.items()]
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
