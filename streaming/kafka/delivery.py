"""Records written at least once, in order, outside transactions: what the bridge does before it acknowledges to MQTT."""

from collections.abc import Callable

from confluent_kafka import KafkaError, Producer

from mliot.clock import Clock, Deadline
from mliot.errors import Fatal, Transient
from streaming.kafka.client import MAX_CALL_S, KafkaSettings, produce
from streaming.runtime.effects import Deliver


class Delivery:
    """One batch after another; a batch counts as delivered when every record of it is acknowledged."""

    def __init__(self, settings: KafkaSettings, clock: Clock, on_error: Callable[[KafkaError], None]) -> None:
        self._settings = settings
        self._clock = clock
        self._on_error = on_error
        self._producer: Producer | None = None
        self._batch: Deliver | None = None
        self._owed = 0
        self._refused = ""

    def deliver(self, effect: Deliver) -> None:
        """Performed again after a :class:`Transient`, it waits on instead of writing again. Raises :class:`Fatal` where Kafka refuses."""
        producer = self._ready()
        if self._batch is not effect:
            self._batch, self._owed, self._refused = effect, len(effect.outcome.emits), ""
            for emit in effect.outcome.emits:
                produce(producer, emit, self._delivered)
        deadline = Deadline.after(self._clock, MAX_CALL_S / 2)
        while self._owed and not deadline.passed():
            producer.poll(min(0.1, deadline.left()))
        if self._refused:
            raise Fatal(f"a record could not be written: {self._refused}")
        if self._owed:
            raise Transient(f"Kafka at {self._settings.bootstrap}: {self._owed} records are not acknowledged yet")
        self._batch = None

    def wait(self, seconds: float) -> bool:
        """Serves delivery reports for so long; False where nothing was ever written."""
        if self._producer is None:
            return False
        self._producer.poll(seconds)
        return True

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        self._owed -= 1
        if error is not None:
            self._refused = error.str()

    def _ready(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                self._settings.producer(
                    **{
                        # no time limit: a record that MQTT was not yet acknowledged for waits as long as Kafka is away
                        "message.timeout.ms": 0,
                        # meanwhile the next batch grows, so that there are fewer: each one wakes Kafka and all that read what it brings
                        "linger.ms": self._settings.fill_ms,
                        "error_cb": self._on_error,
                    }
                )
            )
        return self._producer
