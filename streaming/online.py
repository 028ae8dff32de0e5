"""A challenger that learns as labels come: one River linear model a use case, test-then-train, always in shadow.

Its state (weights, scaling, counts) travels as JSON on a compacted topic, in one transaction with the positions it amounts to: what
was learnt and what was read can not come apart, and nothing is ever unpickled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

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
        patience = self.use_case.delay_ms + PATIENCE_MS
        for feature_id in [name for name, (_, row) in self.rows.items() if row.end_ms < self.times[row.key] - patience]:
            del self.rows[feature_id]
        return learnt

    def checkpoint(self) -> bytes:
        return msgspec.json.encode({"times": self.times, "learner": self.learner.state()})

    def restore(self, value: bytes) -> None:
        state = msgspec.json.decode(value)
        self.times = state["times"]
        self.learner.restore(state["learner"])


Waiting = EventTimeMerge[Feature | Label | None]


def read(records: Sequence[Record], students: Mapping[str, Student], out: Outcome) -> list[Item[Feature | Label | None]]:
    """The records with their messages; what concerns no student passes at once, what is no message becomes a dead letter in ``out``."""
    items: list[Item[Feature | Label | None]] = []
    for record in records:
        try:
            if record.topic == LABELS:
                label = decode(Label, record.value)
                items.append(Item(record, label, label.label_ms if label.use_case in students else None))
            else:
                row = decode(Feature, record.value)
                concerned = any(_is_for(student.use_case, row) for student in students.values())
                items.append(Item(record, row, row.end_ms if concerned else None))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            out.reject_record(record, f"not a message of {record.topic}: {error}")
            items.append(Item(record, None, None))
    return items


def decide(items: Sequence[Item[Feature | Label | None]], students: Mapping[str, Student], out: Outcome) -> None:
    """Shadow predictions into ``out`` for the feature rows, after learning what was due by each row's time; ``students`` move along."""
    used: set[str] = set()
    for record, message, time_ms in items:
        if time_ms is None:
            continue
        used.add(record.address)
        if isinstance(message, Label):
            students[message.use_case].labels[message.feature_id] = (record, message)
        elif isinstance(message, Feature):
            _meet_row(record, message, students, out)
    for student in students.values():
        out.counts["learnt"] += student.learn_due()
        out.emits.append(Emit(CHECKPOINT_TOPIC, student.use_case.name, student.checkpoint()))
    out.settle([item.record for item in items], used)


def remember(records: Sequence[Record], students: Mapping[str, Student]) -> None:
    """Takes in what was read, answered and learnt before a restart: the rows and labels that still wait, nothing else."""
    for record in records:
        if record.topic == LABELS:
            label = decode(Label, record.value)
            student = students.get(label.use_case)
            if student is not None and label.available_ms > student.times.get(label.key, 0):
                student.labels[label.feature_id] = (record, label)
        else:
            row = decode(Feature, record.value)
            for student in students.values():
                if _is_for(student.use_case, row):
                    student.rows[row.feature_id] = (record, row)


def needed_from(students: Mapping[str, Student], positions: Mapping[Partition, int]) -> dict[Partition, Position]:
    """The positions to commit, each with the oldest offset that a restart must read again as its note."""
    oldest = dict(positions)
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
    for record in checkpoints:
        if record.key in students:
            students[record.key].restore(record.value)
    at = {partition: position.offset for partition, position in assignment.items()}
    yield Seek({partition: int(position.note or position.offset) for partition, position in assignment.items()})
    read_to = dict(at)
    waiting = Waiting(assignment)
    while True:
        batch: Batch = yield Read(rows)
        out = Outcome("online", batch.now_ms)
        remember([r for r in batch.records if r.offset < at[Partition(r.topic, r.partition)]], students)
        fresh = [r for r in batch.records if r.offset >= at[Partition(r.topic, r.partition)]]
        waiting.add(read(fresh, students, out))
        read_to |= {partition: position.offset for partition, position in batch.positions().items()}
        ready = waiting.ready(batch.at_end)
        if ready:
            decide(ready, students, out)
            at |= {partition: max(at[partition], offset) for partition, offset in (read_to | waiting.held()).items()}
            yield Commit(out, needed_from(students, at))


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
