"""Partitions of a simulated log: offsets, markers that take one, and what a committed reader sees."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from streaming.runtime.effects import Emit, Partition, Position, Record

Fate = Literal["open", "committed", "aborted"]


@dataclass(eq=False)
class Transaction:
    """One transaction as its coordinator knows it; ``label`` is whatever its producer said that it is about."""

    producer: str
    began_ms: int
    label: object = None
    partitions: set[Partition] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    offsets: dict[tuple[str, Partition], Position] = field(default_factory=dict)
    written: list[Record] = field(default_factory=list)
    fate: Fate = "open"
    ended_ms: int = 0


class Entry(NamedTuple):
    """One offset of a partition: a record, or the marker of a transaction's end."""

    record: Record | None
    transaction: Transaction | None


@dataclass
class PartitionLog:
    """The entries of one partition, by offset."""

    entries: list[Entry] = field(default_factory=list)
    compacted: list[Record] = field(default_factory=list)
    """What :meth:`compact` took."""
    _unmarked: dict[Transaction, int] = field(default_factory=dict)

    def append(self, partition: Partition, emit: Emit, timestamp_ms: int, transaction: Transaction | None = None) -> Record:
        record = Record(*partition, len(self.entries), timestamp_ms, emit.key, emit.value, emit.traceparent)
        self.entries.append(Entry(record, transaction))
        if transaction is not None:
            self._unmarked.setdefault(transaction, record.offset)
            transaction.written.append(record)
        return record

    def mark(self, transaction: Transaction) -> None:
        """Writes the marker of a transaction that has ended."""
        self._unmarked.pop(transaction, None)
        self.entries.append(Entry(None, transaction))

    def compact(self, before: int) -> None:
        """What Kafka's log cleaner leaves of the offsets ``before`` one: of each key the newest committed record, and no tombstone."""
        before = min(before, self.stable)
        newest: dict[str, int] = {}
        for record, transaction in self.entries[:before]:
            if record is not None and (transaction is None or transaction.fate == "committed"):
                newest[record.key] = record.offset
        for offset, (record, transaction) in enumerate(self.entries[:before]):
            if record is not None and not (newest.get(record.key) == offset and record.value):
                self.compacted.append(record)
                self.entries[offset] = Entry(None, transaction)

    @property
    def end(self) -> int:
        """The offset that the next entry takes, as an uncommitted reader sees it (high watermark)."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """Where a committed reader's view ends: the first record of a transaction whose marker is missing (last stable offset)."""
        return min(self._unmarked.values(), default=self.end)

    def read(self, first: int, most: int) -> tuple[list[Record], int]:
        """Up to ``most`` committed records from offset ``first`` on, and where to go on from: markers and aborted records are skipped."""
        records: list[Record] = []
        at, stable = first, self.stable
        while at < stable and len(records) < most:
            record, transaction = self.entries[at]
            at += 1
            if record is not None and (transaction is None or transaction.fate == "committed"):
                records.append(record)
        while at < stable and self.entries[at].record is None:  # a marker is no reason to read again
            at += 1
        return records, at
