"""The log port of one simulated process: a group member that reads, and hands what it writes to transactions. It dies with the process."""

from collections.abc import Callable

from mliot.errors import Transient
from streaming.kafka.transactions import TransactionalProducer, Transactions
from streaming.runtime.effects import Assignment, Batch, Commit, Deliver, Open, Partition, Position, Read, Recall, Record, Rewound, Seek
from streaming.simulated.faults import Faults
from streaming.simulated.kafka import SimulatedKafka
from streaming.simulated.producer import Membership, SimulatedProducer

Policy = Callable[[Callable[[], TransactionalProducer]], Transactions]


class SimulatedLog:
    """The log port. ``process`` tells processes of one instance apart; ``policy`` is replaced by a test that must see it bite."""

    def __init__(
        self,
        kafka: SimulatedKafka,
        group: str,
        faults: Faults | None = None,
        *,
        instance: str = "0",
        process: int = 0,
        reads_only: bool = False,
        policy: Policy = Transactions,
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._faults = faults or Faults()
        self._member = f"{group}-{instance}-{process}"
        self._reads_only = reads_only
        self._transactions = policy(lambda: SimulatedProducer(kafka, f"{group}-{instance}", self._faults))
        self._topics: tuple[str, ...] = ()
        self._generation = -1
        self._at: dict[Partition, int] = {}
        self._delivering: Deliver | None = None
        self._unsent = 0
        self.idle_reads = 0

    def close(self) -> None:
        """Leaves the group at once."""
        self._transactions.drop()
        self._kafka.group(self._group).leave(self._member)

    def hang(self, since_ms: int | None) -> None:
        """The process hangs, or died, from ``since_ms`` on: its heartbeats too. None: it goes on."""
        self._kafka.group(self._group).silence(self._member, since_ms)

    def open(self, effect: Open) -> Assignment:
        self._away()
        if not self._reads_only:
            self._transactions.ready()
        group = self._kafka.group(self._group)
        member = group.join(self._member, effect.topics)
        if member is None or not member.assigned:
            raise Transient("no partitions are assigned yet")
        self._generation = group.generation
        self._kafka.transactions.expire()
        if any(self._kafka.transactions.is_pending(self._group, partition) for partition in member.assigned):
            raise Transient("committed offsets are not to be had: a transaction is not finished")
        assignment = {partition: group.committed.get(partition, Position(0)) for partition in member.assigned}
        self._at = {partition: position.offset for partition, position in assignment.items()}
        return assignment

    def seek(self, effect: Seek) -> None:
        self._at |= effect.offsets

    def read(self, effect: Read) -> Batch:
        self._away()
        self._joined()
        self._kafka.transactions.expire()
        left = self._faults.up_to(effect.rows)
        records: list[Record] = []
        for partition in self._faults.order(self._at):
            here, self._at[partition] = self._kafka.log(partition).read(self._at[partition], left)
            records += here
            left -= len(here)
        if records:
            self.idle_reads = 0
        else:
            self.idle_reads += 1
            self._kafka.clock.advance(effect.wait_ms)
        at_end = frozenset(partition for partition, offset in self._at.items() if offset >= self._kafka.log(partition).stable)
        return Batch(records, at_end, self._kafka.clock.now_ms())

    def recall(self, effect: Recall) -> list[Record]:
        self._away()
        found = []
        self._kafka.transactions.expire()
        for number in effect.numbers:
            log = self._kafka.log(Partition(effect.topic, number))
            if log.stable < log.end:
                raise Transient(f"recall of {effect.topic} did not reach the end")
            first = next(
                (at for at, entry in enumerate(log.entries) if entry.record and entry.record.timestamp_ms >= effect.since_ms), log.end
            )
            found += log.read(first, log.end)[0]
        return found

    def commit(self, effect: Commit) -> None:
        """Everything at once, or :class:`Rewound`. That partitions moved is not noticed here, as nothing is read: Kafka must refuse."""
        self._transactions.commit(effect, Membership(self._group, self._member, self._generation))

    def deliver(self, effect: Deliver) -> None:
        """Performed again after a :class:`Transient`, it goes on instead of writing again; a crash in between leaves a first part."""
        self._away()
        if self._delivering is not effect:
            self._delivering, self._unsent = effect, len(effect.outcome.emits)
        while self._unsent:
            self._kafka.append([effect.outcome.emits[-self._unsent]])
            self._unsent -= 1
            self._faults.crash("crash_in_commit")
            if self._faults.strikes("unanswered"):
                raise Transient("records are not acknowledged yet")
        self._delivering = None

    def lag(self) -> int | None:
        return sum(max(0, self._kafka.log(partition).stable - offset) for partition, offset in self._at.items()) if self._at else None

    def idle(self, seconds: float) -> None:
        """Waits. Raises :class:`Rewound` where partitions moved meanwhile."""
        self._kafka.clock.advance(round(seconds * 1000))
        if self._generation >= 0:
            self._joined()

    def _joined(self) -> None:
        group = self._kafka.group(self._group)
        if group.moved(self._member, self._generation):
            self._generation = -1
            raise Rewound("partitions were revoked")

    def _away(self) -> None:
        if self._faults.strikes("away"):
            raise Transient("the simulated Kafka is away")
