"""Transactions that are safe with librdkafka: a producer is thrown away after every doubt.

librdkafka speaks transactions v1: when an EndTxn request is slow it is sent again
on a new connection, the call returns OK, and the first one may still arrive during the *next* transaction and end that one (KIP-890
describes the hole; only transactions v2 closes it). So no transaction is ever begun on a producer after an abort, after a timeout of a
commit, or after such a hidden resend, also where the commit ends only while partitions are opened anew: a new producer's
``init_transactions`` raises the epoch, which fences whatever is still under way, and reading goes on from the committed offsets. See
``docs/decisions/late-commit.md``.

Here is when that must be; ``streaming/kafka/producer.py`` is the producer on a real Kafka, ``streaming/simulated/producer.py`` the one on
the simulated Kafka, on which ``tests/simulation`` shows what happens without.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from streaming.runtime.effects import Commit, Rewound


class TransactionalProducer(Protocol):
    """One producer with the epoch that it got when it was made; it runs one transaction at a time."""

    def begin(self, effect: Commit, group: Any) -> None:
        """Begins a transaction of the effect's records and positions and sees it through."""

    def outcome(self) -> Exception | None:
        """None where it committed, else why it did not. Raises ``Transient`` while it runs, ``Fatal`` where it never ends."""

    def doubt(self) -> str:
        """What says that a request may have been sent twice since the transaction began; '' where nothing does."""

    def close(self) -> None:
        """Lets go at once, whatever is under way."""


class Transactions:
    """One transaction after another, each on a producer that no doubt hangs over.

    ``new`` makes a producer: whatever an earlier one left under way is fenced then, and its transaction ended. It raises ``Transient``
    while Kafka is away, ``Fatal`` where it refuses.
    """

    def __init__(self, new: Callable[[], TransactionalProducer]) -> None:
        self._new = new
        self._producer: TransactionalProducer | None = None
        self._running: Commit | None = None

    def ready(self) -> TransactionalProducer:
        """The producer, made where there is none that may be used on.

        A transaction that a rebalance left running is waited for first. What became of it is not said: the committed positions, which are
        read next, tell. Whatever speaks against its producer counts here as everywhere.
        """
        with suppress(Rewound):
            self._settle()
        if self._producer is None:
            self._producer = self._new()
        return self._producer

    def commit(self, effect: Commit, group: Any) -> None:
        """Records and positions in one transaction. Performed again after a ``Transient``, it waits on.

        Whatever goes wrong, the producer is dropped and :class:`Rewound` raised.
        """
        if self._running is not effect:
            self.ready().begin(effect, group)
            self._running = effect
        self._settle()

    def doubt(self) -> str:
        """Why the producer must not be used again although its transaction committed; '' where nothing speaks against it."""
        return self._producer.doubt() if self._producer is not None else ""

    def drop(self) -> None:
        """Lets go of the producer; the next one fences what it left under way."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _settle(self) -> None:
        """Returns when no transaction runs any more and the producer may be used on; else drops it and raises what speaks against it."""
        if self._running is None:
            return
        if self._producer is None:
            self._running = None
            raise Rewound("its producer was let go while the transaction ran")
        failure = self._producer.outcome()
        self._running = None
        if failure is not None:
            self.drop()
            raise Rewound(f"the transaction did not commit: {failure}") from failure
        if doubt := self.doubt():
            self.drop()
            raise Rewound(f"the commit may have been sent twice: {doubt}")
