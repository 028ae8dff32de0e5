"""What a world left behind, as plain data. Nothing here knows the services' code: JSON is parsed anew, transactions are Kafka's."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True)
class Row:
    """One record that a committed reader sees; ``body`` is None where its value is no JSON object. ``transaction`` is -1 outside of any."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    body: dict[str, Any] | None
    transaction: int

    @property
    def address(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True)
class Committed:
    """One committed transaction: whose, the positions it committed with their notes, what the service counted, and when it ended."""

    service: str
    positions: dict[Place, tuple[int, str]]
    counts: dict[str, int]
    ended_ms: int


@dataclass
class Evidence:
    """``rows`` by topic, in the order of partitions and offsets; ``addresses`` of everything visible; ``transactions`` in their order."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    addresses: set[str] = field(default_factory=set)
    transactions: list[Committed] = field(default_factory=list)

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """What each service counted in all, in transactions that committed."""
        total: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for transaction in self.transactions:
            for name, count in transaction.counts.items():
                total[transaction.service][name] += count
        return total

    def bodies(self, topic: str) -> list[tuple[Row, dict[str, Any]]]:
        """The rows that are JSON objects."""
        return [(row, row.body) for row in self.rows[topic] if row.body is not None]


def gather(kafka: Any) -> Evidence:
    """Everything that a committed reader of the simulated Kafka sees, and the transactions that made it."""
    found = Evidence()
    numbers: dict[int, int] = {}
    counted: set[int] = set()
    for transaction in kafka.transactions.ended:
        if transaction.fate != "committed":
            continue
        numbers[id(transaction)] = len(found.transactions)
        effect = transaction.label
        fresh = id(effect) not in counted  # a commit that was split in two is counted once
        counted.add(id(effect))
        positions = {tuple(place): (at.offset, at.note) for (_, place), at in transaction.offsets.items()}
        service = transaction.producer.removeprefix("mliot-").rpartition("-")[0]
        found.transactions.append(Committed(service, positions, dict(effect.outcome.counts) if fresh else {}, transaction.ended_ms))
    for (topic, partition), log in sorted(kafka.logs.items()):
        for offset, (record, transaction) in enumerate(log.entries):
            if record is None or (transaction is not None and transaction.fate != "committed"):
                continue
            number = -1 if transaction is None else numbers[id(transaction)]
            row = Row(topic, partition, offset, record.key, record.value, _object(record.value), number)
            found.rows[topic].append(row)
            found.addresses.add(row.address)
        found.addresses |= {record.address for record in log.compacted}
    return found


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(value)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
