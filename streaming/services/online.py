"""A challenger that learns as labels come: one River linear model a use case, test-then-train, always in shadow.

Its state travels on a compacted topic, in one transaction with the positions that it amounts to (``streaming/learning/changelog.py``).
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from learning.models.online import Answer
from mliot.errors import Rejected
from mliot.messages import CHECKPOINT_TOPIC, Feature, Label, Prediction, decode
from mliot.settings import Settings
from mliot.usecase import UseCase
from streaming.learning.changelog import MAX_PIECE_BYTES, Took, restored
from streaming.learning.merge import EventTimeMerge, Item
from streaming.learning.state import State
from streaming.process import main, serve
from streaming.runtime.effects import Assignment, Batch, Commit, Effects, Open, Outcome, Position, Read, Recall, Record, Seek
from usecases import load_use_cases

FEATURES = "stream-feature"
LABELS = "stream-label"
Content = Feature | Label | Rejected
Waiting = EventTimeMerge[Content]


def read(records: Sequence[Record], states: Mapping[str, State]) -> list[Item[Content]]:
    """The records with their messages, or why they are none; what concerns no use case passes at once, and so does what is refused."""
    items: list[Item[Content]] = []
    for record in records:
        try:
            if record.topic == LABELS:
                label = decode(Label, record.value)
                state = states.get(label.use_case)
                if state is not None and not state.use_case.has_label(label.value):
                    raise Rejected(f"{label.value:g} is no class of {label.use_case}; there are {state.use_case.classes}")
                items.append(Item(record, label, None if state is None else label.label_ms))
            else:
                row = decode(Feature, record.value)
                concerned = any(state.concerns(row) for state in states.values())
                items.append(Item(record, row, row.end_ms if concerned else None))
        except (msgspec.DecodeError, Rejected) as error:
            items.append(Item(record, Rejected(f"not a message of {record.topic}: {error}"), None))
    return items


def observe(items: Sequence[Item[Content]], states: Mapping[str, State], out: Outcome) -> set[str]:
    """Shadow predictions into ``out`` for the feature rows, each after what was due by its time is learnt; ``states`` move along.

    Returns the names of those that anything concerned.
    """
    used: set[str] = set()
    concerned: set[str] = set()
    for record, message, time_ms in items:
        if isinstance(message, Rejected):
            out.reject_record(record, str(message))
        if time_ms is None:
            continue
        used.add(record.address)
        if isinstance(message, Label):
            states[message.use_case].observe_label(message, record.partition, out.counts)
            concerned.add(message.use_case)
        elif isinstance(message, Feature):
            concerned |= _observe_row(record, message, states, out)
    out.settle([item.record for item in items], used)
    return concerned


def taken(records: Iterable[Record]) -> Took:
    """The extent of ``records`` in each partition, which they are in the order of."""
    took: dict[str, tuple[int, int]] = {}
    for record in records:
        place = f"{record.topic}-{record.partition}"
        first, _ = took.get(place, (record.offset, record.offset))
        took[place] = (first, record.offset)
    return took


def online(
    use_cases: Mapping[str, UseCase], rows: int, checkpoint_partitions: tuple[int, ...], piece_bytes: int = MAX_PIECE_BYTES
) -> Effects:
    """Restore, then: read, learn and answer, commit."""
    assignment: Assignment = yield Open((FEATURES, LABELS))
    checkpoints: list[Record] = yield Recall(CHECKPOINT_TOPIC, checkpoint_partitions, 0)
    logs, unusable = restored(checkpoints, use_cases, piece_bytes=piece_bytes)
    del checkpoints
    states = {name: log.state for name, log in logs.items()}
    at = {partition: position.offset for partition, position in assignment.items()}
    yield Seek(at)
    read_to = dict(at)
    waiting = Waiting(assignment)
    while True:
        batch: Batch = yield Read(rows)
        out = Outcome("online", batch.now_ms)
        waiting.add(read(batch.records, states))
        read_to |= {partition: position.offset for partition, position in batch.positions().items()}
        ready = waiting.ready(batch.at_end)
        if ready:
            concerned = observe(ready, states, out)
            took = taken(item.record for item in ready)
            for name in sorted(concerned):
                out.emits += logs[name].write(took)
            for record, why in unusable:
                out.reject(record.value, source=record.topic, reason=why, key=record.key)
            out.counts["checkpoint_unusable"] += len(unusable)
            unusable = []
            at |= read_to | waiting.held()
            yield Commit(out, {partition: Position(offset) for partition, offset in at.items()})


def _observe_row(record: Record, row: Feature, states: Mapping[str, State], out: Outcome) -> set[str]:
    concerned: set[str] = set()
    for name, state in states.items():
        if not state.concerns(row):
            continue
        concerned.add(name)
        state.advance(record.partition, row.end_ms, out.counts)
        answer = state.learner.predict(row.values)
        if answer is not None:
            out.emit(_prediction(state, row, answer, out.now_ms), row.place_id, record.traceparent)
        state.observe_row(row, record.partition, out.counts)
    return concerned


def _prediction(state: State, row: Feature, answer: Answer, now_ms: int) -> Prediction:
    value, probability = answer
    return Prediction.of(
        row,
        use_case=state.use_case.name,
        horizon_ms=state.use_case.label.horizon_ms,
        model_version=state.learner.version,
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
