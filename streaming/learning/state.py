"""What the online learner keeps of one use case: its model, and the rows and labels that wait for each other, in order of event time. Pure.

Event time is counted by partition: the newest end of a row of this use case. In a catch-up one partition is read far ahead of another.
Whatever comes costs what it holds itself, not what waits beside it.
"""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan

import msgspec

from learning.tasks import load_task
from mliot.messages import Feature, Label
from mliot.usecase import UseCase
from streaming.learning.timequeue import TimeQueue

PATIENCE_MS = 3_600_000
"""So long a row is kept for its label after that was due, and a label for its row after its own time; then it is forgotten, and counted."""
MAX_UNMATCHED = 100_000
"""Labels without a row that are kept at once; one more is forgotten at once, and counted."""
UNLABELLED = -1


class HeldRow(msgspec.Struct, array_like=True, gc=False):
    """A feature row that waits for its label, or for the time from which its label may be learnt.

    ``values`` are those of the use case's columns (:func:`packed`). ``batch`` is the checkpoint that it stands in, 0: none yet.
    """

    feature_id: str
    partition: int
    end_ms: int
    values: bytes
    available_ms: int = UNLABELLED
    label: float = 0.0
    batch: int = 0


class HeldLabel(msgspec.Struct, array_like=True, gc=False):
    """A label whose row was not read yet."""

    feature_id: str
    partition: int
    available_ms: int
    label: float
    batch: int = 0


class State:
    """One use case's learner and what waits around it.

    ``changed`` names what is held otherwise than the last checkpoint says, or no longer, each with the batch that it stood in there.
    """

    def __init__(self, use_case: UseCase) -> None:
        self.use_case = use_case
        self.learner = load_task(use_case.kind).online(use_case)
        self.event_ms: dict[int, int] = {}
        self.rows: dict[str, HeldRow] = {}
        self.labels: dict[str, HeldLabel] = {}
        self.changed: dict[str, int] = {}
        self._due: dict[int, TimeQueue] = defaultdict(TimeQueue)
        self._ending: dict[int, TimeQueue] = defaultdict(TimeQueue)
        self._unmatched: dict[int, TimeQueue] = defaultdict(TimeQueue)
        self._kept_ms = use_case.delay_ms + PATIENCE_MS

    def concerns(self, row: Feature) -> bool:
        """True where this use case predicts for ``row``."""
        return row.model == self.use_case.features and self.use_case.serves(row.place_id)

    def advance(self, partition: int, ms: int, counts: Counter[str]) -> None:
        """The partition's time has come to ``ms``: what is due is learnt, what waited too long forgotten. ``counts`` says of how much."""
        if ms <= self.event_ms.get(partition, -1):
            return
        self.event_ms[partition] = ms
        for available_ms, name in self._due[partition].until(ms):
            row = self.rows.get(name)
            if row is not None and row.partition == partition and row.available_ms == available_ms:
                self._learn(row, counts)
        for end_ms, name in self._ending[partition].until(ms - self._kept_ms - 1):
            row = self.rows.get(name)
            if row is not None and row.partition == partition and row.end_ms == end_ms:
                self._drop(name)
                counts["row_forgotten"] += 1
        for available_ms, name in self._unmatched[partition].until(ms - PATIENCE_MS - 1):
            label = self.labels.get(name)
            if label is not None and label.partition == partition and label.available_ms == available_ms:
                self.changed.setdefault(name, self.labels.pop(name).batch)
                counts["label_forgotten"] += 1

    def observe_row(self, row: Feature, partition: int, counts: Counter[str]) -> None:
        """Keeps the row for its label, which may have come before it. One that comes when it would be forgotten already is not kept."""
        if row.end_ms < self.event_ms[partition] - self._kept_ms:
            counts["row_forgotten"] += 1
            return
        held = HeldRow(row.feature_id, partition, row.end_ms, packed(row.values, self.use_case.columns))
        known = self.rows.get(row.feature_id) or self.labels.pop(row.feature_id, None)
        self.changed.setdefault(row.feature_id, known.batch if known else 0)
        self.rows[row.feature_id] = held
        self._ending[partition].add(row.end_ms, row.feature_id)
        if known is not None and known.available_ms != UNLABELLED:
            self._match(held, known.available_ms, known.label, counts)

    def observe_label(self, label: Label, partition: int, counts: Counter[str]) -> None:
        """Learnt at once where its row's time has come so far, else kept. Of two for one row the newer one counts, until it is learnt."""
        row = self.rows.get(label.feature_id)
        if row is not None:
            self._match(row, label.available_ms, label.value, counts)
            return
        held = self.labels.get(label.feature_id)
        late = label.available_ms < self.event_ms.get(partition, 0) - PATIENCE_MS
        if late or (held is None and len(self.labels) >= MAX_UNMATCHED):
            counts["label_forgotten"] += 1
            return
        self.changed.setdefault(label.feature_id, held.batch if held else 0)
        self._keep_label(HeldLabel(label.feature_id, partition, label.available_ms, label.value))

    def entry(self, feature_id: str) -> HeldRow | HeldLabel | None:
        """What is held under this id: the row, else the label that waits for it."""
        return self.rows.get(feature_id) or self.labels.get(feature_id)

    def keep(self, rows: Iterable[HeldRow], labels: Iterable[HeldLabel]) -> None:
        """Takes in what a checkpoint says is held; nothing is learnt from it."""
        for row in rows:
            self.rows[row.feature_id] = row
            self._ending[row.partition].add(row.end_ms, row.feature_id)
            if row.available_ms != UNLABELLED:
                self._due[row.partition].add(row.available_ms, row.feature_id)
        for label in labels:
            self._keep_label(label)

    def _match(self, row: HeldRow, available_ms: int, label: float, counts: Counter[str]) -> None:
        if available_ms > row.end_ms + self._kept_ms:  # by then the row would be forgotten
            counts["label_forgotten"] += 1
            return
        self.changed.setdefault(row.feature_id, row.batch)
        row.available_ms, row.label = available_ms, label
        if available_ms <= self.event_ms[row.partition]:
            self._learn(row, counts)
        else:
            self._due[row.partition].add(available_ms, row.feature_id)

    def _learn(self, row: HeldRow, counts: Counter[str]) -> None:
        self._drop(row.feature_id)
        self.learner.learn(unpacked(row.values, self.use_case.columns), row.label)
        counts["learnt"] += 1

    def _drop(self, feature_id: str) -> None:
        self.changed.setdefault(feature_id, self.rows.pop(feature_id).batch)

    def _keep_label(self, label: HeldLabel) -> None:
        self.labels[label.feature_id] = label
        self._unmatched[label.partition].add(label.available_ms, label.feature_id)


def packed(values: Mapping[str, float], columns: Sequence[str]) -> bytes:
    """The values of ``columns`` in their order, 8 bytes each, least byte first; NaN stands for one that is missing."""
    return struct.pack(f"<{len(columns)}d", *[values.get(column, nan) for column in columns])


def unpacked(values: bytes, columns: Sequence[str]) -> dict[str, float]:
    """The values that :func:`packed` was given, those that are missing left out. Raises ``struct.error`` where there are not as many."""
    return {column: value for column, value in zip(columns, struct.unpack(f"<{len(columns)}d", values), strict=True) if not isnan(value)}
