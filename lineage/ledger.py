"""Where each id was seen, and what follows: owed, seen, missing, twice, foreign."""

from collections.abc import Iterator
from dataclasses import dataclass, field

LOGGED, OWED, STORED, LOADED, LOADABLE, PUBLISHED, OUTSIDE = 1, 2, 4, 8, 16, 32, 64
"""Flags of an id: in Kafka; there long enough that what follows from it must be there too; in the store; in the warehouse;
below the offset that the warehouse has reached; in a publisher's journal; in the store, but not from the part of Kafka that was read."""


class Ledger:
    """The ids of one kind of message. One dict entry an id, so a million ids take about 150 MB."""

    def __init__(self) -> None:
        self._flags: dict[str, int] = {}
        self.repeated: list[str] = []
        self.records = 0

    def log(self, id: str, flags: int) -> bool:
        """Notes one record in Kafka; True where it is the first of its id, else the id is noted as repeated."""
        self.records += 1
        before = self._flags.get(id, 0)
        self._flags[id] = before | flags | LOGGED
        if before & LOGGED:
            self.repeated.append(id)
            return False
        return True

    def mark(self, id: str, flag: int) -> None:
        self._flags[id] = self._flags.get(id, 0) | flag

    def has(self, id: str, flags: int) -> bool:
        """True where the id has any of ``flags``."""
        return self._flags.get(id, 0) & flags != 0

    def count(self, flags: int) -> int:
        """How many ids have every one of ``flags``."""
        return sum(1 for _ in self.where(all_of=flags))

    def where(self, *, all_of: int, none_of: int = 0) -> Iterator[str]:
        """The ids that have every flag of ``all_of`` and none of ``none_of``."""
        return (id for id, flags in self._flags.items() if flags & all_of == all_of and not flags & none_of)


@dataclass
class Finding:
    """One line of the audit. ``owed`` and ``seen`` are counts, the rest are the ids that are wrong; ``note`` is what is right but odd."""

    what: str
    owed: int
    seen: int
    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def clean(self) -> bool:
        return not (self.missing or self.twice or self.foreign)


@dataclass
class Report:
    """What the audit found. ``notes`` are facts that are no failure, ``doubts`` those that are one under ``--strict``."""

    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    strict: bool = False

    @property
    def clean(self) -> bool:
        """True where nothing is missing, twice or foreign (and, where strict, nothing is in doubt)."""
        return all(finding.clean for finding in self.findings) and not (self.strict and self.doubts)
