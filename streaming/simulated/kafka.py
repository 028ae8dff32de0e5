"""A simulated Kafka: its topics, groups and transactions, and the requests that are still under way to it. It outlives every client."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from mliot.clock import ManualClock
from streaming.runtime.effects import Emit, Partition, Position, Record
from streaming.simulated.coordinator import Coordinator, EndTxn
from streaming.simulated.groups import Group, Refused
from streaming.simulated.topics import PartitionLog


@dataclass
class SimulatedKafka:
    """A topic has ``partitions`` partitions from its first use on. ``under_way`` holds requests that their clients gave up."""

    clock: ManualClock
    partitions: int = 2
    logs: dict[Partition, PartitionLog] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    under_way: list[EndTxn] = field(default_factory=list)
    transactions: Coordinator = field(init=False)

    def __post_init__(self) -> None:
        self.transactions = Coordinator(self.clock.now_ms, self.log, self.group)

    def log(self, partition: Partition) -> PartitionLog:
        if partition not in self.logs:
            self.logs[partition] = PartitionLog()
        return self.logs[partition]

    def group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(self.clock.now_ms, self.partitions)
        return self.groups[name]

    def partition_of(self, emit: Emit) -> Partition:
        return Partition(emit.topic, crc32(emit.key.encode()) % self.partitions)

    def append(self, emits: Iterable[Emit]) -> None:
        """Writes records outside transactions."""
        for emit in emits:
            self.write(self.partition_of(emit), emit)

    def write(self, partition: Partition, emit: Emit) -> Record:
        return self.log(partition).append(partition, emit, self.timestamp_of(emit))

    def timestamp_of(self, emit: Emit) -> int:
        return emit.timestamp_ms or self.clock.now_ms()

    def topic(self, name: str) -> list[Record]:
        """Every record of a topic that a committed reader sees, partition by partition."""
        found: list[Record] = []
        for partition in sorted(self.logs):
            if partition.topic == name:
                found += self.logs[partition].read(0, self.logs[partition].end)[0]
        return found

    def committed(self, group: str) -> dict[Partition, Position]:
        """The positions that ``group`` committed."""
        return dict(self.group(group).committed)

    def arrive(self, request: EndTxn) -> str:
        """A request under way arrives; answers what became of it, in words. Its client no longer listens."""
        self.under_way.remove(request)
        try:
            self.transactions.end(request)
        except Refused as refusal:
            return f"{request} refused: {refusal}"
        self.transactions.mark()
        return f"{request} obeyed"
