"""The store port in memory: rows by id, positions by compare and set, both or neither."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mliot.errors import Transient
from streaming.runtime.effects import Partition, Positions, Rewound, Save
from streaming.simulated.faults import Faults

Row = Mapping[str, Any]


@dataclass
class SimulatedStore:
    """Of equal ids the first counts, as in ``streaming/sinks/postgres.py``; of dead letters the newest. ``saved`` is all that was saved."""

    faults: Faults = field(default_factory=Faults)
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    at: dict[Partition, int] = field(default_factory=dict)
    saved: list[Save] = field(default_factory=list)

    def positions(self, effect: Positions) -> dict[Partition, int]:
        self._away()
        return {partition: self.at.get(partition, 0) for partition in effect.topic_ids}

    def save(self, effect: Save) -> int:
        self._away()
        for partition, offset in effect.before.items():
            if self.at.get(partition, 0) != offset:
                raise Rewound(f"the store does not stand at {partition.topic}-{partition.number}-{offset}")
        self.at |= effect.after
        self.saved.append(effect)
        new = 0
        for topic, rows in effect.rows.items():
            held = self.rows.setdefault(topic, {})
            for row in rows:
                new += row["id"] not in held
                if topic == "stream-deadletter":
                    held[row["id"]] = row
                else:
                    held.setdefault(row["id"], row)
        if self.faults.strikes("unanswered"):
            raise Transient("the connection to the simulated store broke")
        return new

    def _away(self) -> None:
        if self.faults.strikes("away"):
            raise Transient("the simulated store is away")
