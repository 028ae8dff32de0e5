"""The transaction coordinator of a simulated log, as clients of transactions v1 meet it (before KIP-890).

EndTxn is obeyed for whatever transaction is under way at the producer's epoch: also where the request was meant for an earlier one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from streaming.runtime.effects import Emit, Partition, Position, Record
from streaming.simulated.groups import Group, Refused
from streaming.simulated.topics import Fate, PartitionLog, Transaction

TRANSACTION_MS = 30_000
"""After this the coordinator aborts a transaction by itself (the services' ``transaction.timeout.ms``)."""


@dataclass
class Producer:
    """What is known of one transactional id. ``last`` is how its last transaction ended."""

    epoch: int = -1
    current: Transaction | None = None
    last: Fate | None = None


@dataclass(frozen=True)
class EndTxn:
    """A request to end a transaction, as it travels."""

    producer: str
    epoch: int
    fate: Fate


@dataclass
class Coordinator:
    """Every transactional id, the transactions that ended, and those whose markers are still to be written."""

    now_ms: Callable[[], int]
    log: Callable[[Partition], PartitionLog]
    group: Callable[[str], Group]
    producers: dict[str, Producer] = field(default_factory=dict)
    ended: list[Transaction] = field(default_factory=list)
    _unmarked: list[Transaction] = field(default_factory=list)

    def init(self, name: str) -> int:
        """A new epoch: whoever had an earlier one is fenced, and what it left under way is aborted."""
        producer = self.producers.setdefault(name, Producer())
        self._abandon(producer)
        return producer.epoch

    def add_partition(self, name: str, epoch: int, partition: Partition, label: object) -> None:
        self._ongoing(name, epoch, label).partitions.add(partition)

    def write(self, name: str, epoch: int, partition: Partition, emit: Emit, timestamp_ms: int) -> Record:
        """The partition's leader asks the coordinator whether the transaction is under way (KIP-890, part 1: also for v1 clients)."""
        transaction = self._known(name, epoch).current
        if transaction is None or partition not in transaction.partitions:
            raise Refused("INVALID_TXN_STATE")
        return self.log(partition).append(partition, emit, timestamp_ms, transaction)

    def add_offsets(self, name: str, epoch: int, group: str, label: object) -> None:
        self._ongoing(name, epoch, label).groups.add(group)

    def commit_offsets(self, name: str, epoch: int, group: str, offsets: dict[Partition, Position]) -> None:
        transaction = self._known(name, epoch).current
        if transaction is None or group not in transaction.groups:
            raise Refused("INVALID_TXN_STATE")
        transaction.offsets |= {(group, partition): position for partition, position in offsets.items()}

    def end(self, request: EndTxn) -> None:
        """Ends the transaction under way; the same answer again for a request that only repeats the last one."""
        producer = self._known(request.producer, request.epoch)
        if producer.current is not None:
            self._end(producer, request.fate)
        elif producer.last != request.fate:
            raise Refused("INVALID_TXN_STATE")

    def is_pending(self, group: str, partition: Partition) -> bool:
        """True while a transaction that commits a position of ``partition`` has no marker."""
        under_way = [producer.current for producer in self.producers.values() if producer.current is not None]
        return any((group, partition) in transaction.offsets for transaction in (*under_way, *self._unmarked))

    @property
    def settled(self) -> bool:
        """True where every transaction that has ended has its markers."""
        return not self._unmarked

    def mark(self) -> None:
        """Writes the markers of the transactions that have ended: only now readers see them, and their positions are committed."""
        for transaction in self._unmarked:
            for partition in sorted(transaction.partitions):
                self.log(partition).mark(transaction)
            if transaction.fate == "committed":
                for (group, partition), position in transaction.offsets.items():
                    self.group(group).committed[partition] = position
        self._unmarked.clear()

    def expire(self) -> None:
        """Aborts what has been under way for too long."""
        for producer in self.producers.values():
            if producer.current is not None and self.now_ms() - producer.current.began_ms > TRANSACTION_MS:
                self._abandon(producer)

    def _abandon(self, producer: Producer) -> None:
        if producer.current is not None:
            self._end(producer, "aborted")
        self.mark()
        producer.epoch += 1
        producer.last = None

    def _end(self, producer: Producer, fate: Fate) -> None:
        transaction = producer.current
        assert transaction is not None
        transaction.fate, transaction.ended_ms = fate, self.now_ms()
        producer.current, producer.last = None, fate
        self.ended.append(transaction)
        self._unmarked.append(transaction)

    def _ongoing(self, name: str, epoch: int, label: object) -> Transaction:
        """The transaction under way; begun here where there is none, once the markers of the one before are written."""
        producer = self._known(name, epoch)
        if producer.current is None:
            self.mark()
            producer.current = Transaction(name, self.now_ms(), label)
        return producer.current

    def _known(self, name: str, epoch: int) -> Producer:
        self.expire()
        producer = self.producers.get(name)
        if producer is None or producer.epoch != epoch:
            raise Refused("PRODUCER_FENCED")
        return producer
