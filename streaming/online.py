"""A challenger that learns as labels come: one River linear model a use case, test-then-train, always in shadow.

Its state (weights, scaling, counts) travels as JSON on a compacted topic, in one transaction with the positions it amounts to: what
was learnt and what was read can not come apart, and nothing is ever unpickled.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from mliot.errors import Rejected
from mliot.messages import CHECKPOINT_TOPIC, Feature, Label, Prediction, decode
from mliot.settings import Settings
from mliot.usecase import UseCase, load_use_cases
from streaming.learner import Answer, Learner, learner_for
from streaming.merge import EventTimeMerge, Item
from streaming.ports import Assignment, Batch, Commit, Effects, Emit, Open, Outcome, Partition, Position, Read, Recall, Record, Seek
from streaming.process import main, serve

FEATURES = "stream-feature"
LABELS = "stream-label"
PATIENCE_MS = 3_600_000
"""How long after its label was due a feature row is still kept for it."""
Took = Mapping[str, tuple[int, int]]
"""By ``topic-partition``, the offsets of the first and the last record of a batch."""


class Checkpoint(msgspec.Struct):
    """A student's state after the records ``took``; ``times`` is event time by key."""

    use_case: str
    took: dict[str, tuple[int, int]]
    times: dict[str, int]
    learner: msgspec.Raw


@dataclass
class Student:
    """One use case's learner and what waits around it: rows whose label is not there yet, labels that may not be learnt from yet.

    Time is event time, and each key has its own: in a catch-up one partition is read far ahead of another.
    """

    use_case: UseCase
    learner: Learner
    times: dict[str, int] = field(default_factory=dict)
    rows: dict[str, tuple[Record, Feature]] = field(default_factory=dict)
    labels: dict[str, tuple[Record, Label]] = field(default_factory=dict)

    def meet(self, record: Record, row: Feature) -> int:
        """Keeps the row for its label, after learning what was due by its time; the number of labels learnt."""
        self.times[row.key] = max(self.times.get(row.key, 0), row.end_ms)
        learnt = self.learn_due()
        self.rows[row.feature_id] = (record, row)
        return learnt

    def learn_due(self) -> int:
        """Learns each label that its key's time has reached, in the order they became available; the number learnt."""
        due = [label for _, label in self.labels.values() if label.available_ms <= self.times.get(label.key, 0)]
        learnt = 0
        for label in sorted(due, key=lambda label: (label.available_ms, label.feature_id)):
            del self.labels[label.feature_id]
            held = self.rows.pop(label.feature_id, None)
            if held is not None:
                self.learner.learn(held[1].values, label.value)
                learnt += 1
        patience = self.use_case.delay_ms + PATIENCE_MS  # a use case that is new to the log remembers rows of keys that it never met
        for feature_id in [name for name, (_, row) in self.rows.items() if row.end_ms < self.times.get(row.key, 0) - patience]:
            del self.rows[feature_id]
        return learnt

    def checkpoint(self, took: Took | None = None) -> bytes:
        """The state after the records ``took``: by them a replay knows which records lie between two checkpoints."""
        learner = msgspec.Raw(msgspec.json.encode(self.learner.state()))
        return msgspec.json.encode(Checkpoint(self.use_case.name, dict(took or {}), self.times, learner))

    def restore(self, value: bytes) -> None:
        """Goes on from a checkpoint. Raises ``msgspec.DecodeError`` where ``value`` is none of this use case; nothing has changed then."""
        found = msgspec.json.decode(value, type=Checkpoint)
        self.learner.restore(found.learner)
        self.times = found.times


Content = Feature | Label | Rejected
Waiting = EventTimeMerge[Content]


def read(records: Sequence[Record], students: Mapping[str, Student]) -> list[Item[Content]]:
    """The records with their messages, or why they are none; what concerns no student passes at once, and so does what is refused."""
    items: list[Item[Content]] = []
    for record in records:
        try:
            if record.topic == LABELS:
                label = decode(Label, record.value)
                student = students.get(label.use_case)
                if student is not None and not student.use_case.has_label(label.value):
                    raise Rejected(f"{label.value:g} is no class of {label.use_case}; there are {student.use_case.classes}")
                items.append(Item(record, label, None if student is None else label.label_ms))
            else:
                row = decode(Feature, record.value)
                concerned = any(_is_for(student.use_case, row) for student in students.values())
                items.append(Item(record, row, row.end_ms if concerned else None))
        except (msgspec.DecodeError, Rejected) as error:
            items.append(Item(record, Rejected(f"not a message of {record.topic}: {error}"), None))
    return items


def decide(items: Sequence[Item[Content]], students: Mapping[str, Student], out: Outcome) -> None:
    """Shadow predictions into ``out`` for the feature rows, after learning what was due by each row's time; ``students`` move along."""
    used: set[str] = set()
    for record, message, time_ms in items:
        if isinstance(message, Rejected):
            out.reject_record(record, str(message))
        if time_ms is None:
            continue
        used.add(record.address)
        if isinstance(message, Label):
            students[message.use_case].labels[message.feature_id] = (record, message)
        elif isinstance(message, Feature):
            _meet_row(record, message, students, out)
    took = taken(item.record for item in items)
    for student in students.values():
        out.counts["learnt"] += student.learn_due()
        out.emits.append(Emit(CHECKPOINT_TOPIC, student.use_case.name, student.checkpoint(took)))
    out.settle([item.record for item in items], used)


def taken(records: Iterable[Record]) -> Took:
    """The extent of ``records`` in each partition, which they are in the order of."""
    took: dict[str, tuple[int, int]] = {}
    for record in records:
        place = f"{record.topic}-{record.partition}"
        first, _ = took.get(place, (record.offset, record.offset))
        took[place] = (first, record.offset)
    return took


def restore(checkpoints: Iterable[Record], students: Mapping[str, Student]) -> list[tuple[Record, str]]:
    """Each student goes on from the newest checkpoint that can be used; answers those, newest of their student, that can not, and why.

    An older one that can not was told of before a newer one was written.
    """
    unusable: dict[str, tuple[Record, str]] = {}
    for record in checkpoints:
        if record.key not in students:
            continue
        try:
            students[record.key].restore(record.value)
            unusable.pop(record.key, None)
        except msgspec.DecodeError as error:
            unusable[record.key] = (record, f"not a checkpoint of {record.key}: {error}")
    return list(unusable.values())


def remember(records: Sequence[Record], students: Mapping[str, Student]) -> None:
    """Takes in what was read, answered and learnt before a restart: the rows and labels that still wait, nothing else."""
    for record, message, _ in read(records, students):  # what is unreadable became a dead letter when it was new
        if isinstance(message, Label):
            student = students.get(message.use_case)
            if student is not None and message.available_ms > student.times.get(message.key, 0):
                student.labels[message.feature_id] = (record, message)
        elif isinstance(message, Feature):
            for student in students.values():
                if _is_for(student.use_case, message):
                    student.rows[message.feature_id] = (record, message)


def needed_from(
    students: Mapping[str, Student], positions: Mapping[Partition, int], behind: Mapping[Partition, int]
) -> dict[Partition, Position]:
    """The positions to commit, each with the oldest offset that a restart must read again as its note.

    A partition that is ``behind`` is itself still to be read again, from the offset given there.
    """
    oldest = {**positions, **behind}
    for student in students.values():
        for record, _ in (*student.rows.values(), *student.labels.values()):
            partition = Partition(record.topic, record.partition)
            if partition in oldest:
                oldest[partition] = min(oldest[partition], record.offset)
    return {partition: Position(offset, str(oldest[partition])) for partition, offset in positions.items()}


def online(use_cases: Mapping[str, UseCase], rows: int, checkpoint_partitions: tuple[int, ...]) -> Effects:
    """Restore, reread what still waits, then: read, learn and answer, commit."""
    assignment: Assignment = yield Open((FEATURES, LABELS))
    students = {name: Student(use_case, learner_for(use_case)) for name, use_case in use_cases.items()}
    checkpoints: list[Record] = yield Recall(CHECKPOINT_TOPIC, checkpoint_partitions, 0)
    unusable = restore(checkpoints, students)
    at = {partition: position.offset for partition, position in assignment.items()}
    oldest = {partition: int(position.note or position.offset) for partition, position in assignment.items()}
    behind = {partition: offset for partition, offset in oldest.items() if offset < at[partition]}
    yield Seek(oldest)
    read_to = dict(at)
    waiting = Waiting(assignment)
    while True:
        batch: Batch = yield Read(rows)
        out = Outcome("online", batch.now_ms)
        behind = batch.still_behind(behind, at)
        remember([r for r in batch.records if r.offset < at[Partition(r.topic, r.partition)]], students)
        fresh = [r for r in batch.records if r.offset >= at[Partition(r.topic, r.partition)]]
        waiting.add(read(fresh, students))
        read_to |= {partition: position.offset for partition, position in batch.positions().items()}
        ready = waiting.ready(batch.at_end)
        if ready:
            decide(ready, students, out)
            for record, why in unusable:
                out.reject(record.value, source=record.topic, reason=why, key=record.key)
            out.counts["checkpoint_unusable"] += len(unusable)
            unusable = []
            at |= {partition: max(at[partition], offset) for partition, offset in (read_to | waiting.held()).items()}
            yield Commit(out, needed_from(students, at, behind))


def _is_for(use_case: UseCase, row: Feature) -> bool:
    return row.model == use_case.features and use_case.serves(row.place_id)


def _meet_row(record: Record, row: Feature, students: Mapping[str, Student], out: Outcome) -> None:
    for student in students.values():
        if not _is_for(student.use_case, row):
            continue
        out.counts["learnt"] += student.meet(record, row)
        answer = student.learner.predict(row.values)
        if answer is not None:
            out.emit(_prediction(student.use_case, row, student.learner.version, answer, out.now_ms), row.place_id, record.traceparent)


def _prediction(use_case: UseCase, row: Feature, version: str, answer: Answer, now_ms: int) -> Prediction:
    value, probability = answer
    return Prediction.of(
        row,
        use_case=use_case.name,
        horizon_ms=use_case.label.horizon_ms,
        model_version=version,
        made_ms=now_ms,
        value=value,
        probability=probability,
        shadow=True,
    )


def run(settings: Settings) -> None:
    """The online learner as a process, until it is told to stop. One instance: its models are one per use case."""
    use_cases = load_use_cases(settings.usecases)
    serve(settings, "online", lambda: online(use_cases, settings.batch_rows, tuple(range(settings.partitions))))


if __name__ == "__main__":
    main(run, "online")
