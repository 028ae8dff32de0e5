"""The services under fire: each one's own generator, fed with records and driven by hand: once from the start, once as after a restart."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.messages import CHECKPOINT_TOPIC, DeadLetter
from streaming.features.labels import label_sources
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.runtime.effects import (
    Assignment,
    Batch,
    Champion,
    Champions,
    Commit,
    Emit,
    Open,
    Partition,
    Position,
    Positions,
    Publish,
    Published,
    Read,
    Recall,
    Received,
    Record,
    Save,
    Score,
    Scored,
    Scores,
    Seek,
    Service,
)
from streaming.services import bridge, commands, features, inference, online, store
from tests.fuzz import invariants
from tests.fuzz.corpus import Input
from tests.fuzz.invariants import require
from tests.fuzz.mutator import NOW_MS
from usecases import load_use_cases

RETENTION_MS = 120 * 86_400_000
ROWS = 128
SCORES = (1.0, 2.0, 7.5, 1e308, float("nan"), float("inf"))
"""What a model server may answer; the JSON of a real one holds no such thing as the last two, but a model computes them."""
_MEASUREMENTS = load_measurements()
_DECODERS = load_decoders()


def bridged(inputs: Sequence[Input]) -> tuple[Counter[str], list[Emit]]:
    """What the bridge makes of MQTT messages: how many of each fate, and the records."""
    batch = [Received(on, data, "", NOW_MS, (1, n)) for n, (on, data) in enumerate(inputs)]
    outcome = bridge.decide(batch, decoders=_DECODERS, measurements=_MEASUREMENTS, retention_ms=RETENTION_MS, now_ms=NOW_MS)
    return invariants.bridged(batch, outcome), outcome.emits


@dataclass
class Log:
    """What a service read, and what it made of it; one partition a topic. It answers effects as the real ports would."""

    held: Mapping[str, Sequence[Record]]
    committed: dict[Partition, Position] = field(default_factory=dict)
    at: dict[str, int] = field(default_factory=dict)
    emits: list[Emit] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    now_ms: int = NOW_MS + 120_000
    idle: int = 0

    @classmethod
    def of(cls, inputs: Sequence[Input]) -> "Log":
        held: dict[str, list[Record]] = {}
        for on, data in inputs:
            mine = held.setdefault(on, [])
            mine.append(Record(on, 0, len(mine), NOW_MS, "room-1" if len(mine) % 3 else "\0\u202e" + "k" * 70_000, data, ""))
        return cls(held)

    def drive(self, service: Service) -> None:
        """Performs the service's effects until nothing comes any more."""
        self.idle = 0
        effects = service()
        effect = next(effects)
        while self.idle < 3:
            effect = effects.send(self._answer(effect))
        effects.close()

    def _answer(self, effect: Any) -> Any:
        match effect:
            case Open():
                self.at = {topic: self.committed.get(Partition(topic, 0), Position(0)).offset for topic in effect.topics}
                return self._assignment(effect)
            case Seek():
                self.at |= {partition.topic: offset for partition, offset in effect.offsets.items()}
            case Read():
                return self._read(effect)
            case Recall():
                return list(self.held.get(effect.topic, ())) + [
                    Record(e.topic, 0, n, NOW_MS, e.key, e.value, e.traceparent)
                    for n, e in enumerate(self.emits)
                    if e.topic == effect.topic
                ]
            case Commit():
                self.emits += effect.outcome.emits
                self.counts += effect.outcome.counts
                self.committed |= effect.positions
            case Publish():
                taken = [message for message in effect.messages if message.left_s(self.now_ms)]
                for outgoing in taken:
                    invariants.sent(outgoing, self.now_ms)
                return Published(taken, self.now_ms)
            case Score():
                scores = [Scored(SCORES[(n * 7 + len(row)) % len(SCORES)], 0.5) for n, row in enumerate(effect.rows)]
                return Scores("v1", scores)
            case Champions():
                return {name: Champion("v1", use_case.features, use_case.columns) for name, use_case in load_use_cases().items()}
            case Positions():
                return dict.fromkeys(effect.topic_ids, 0)
            case Save():
                self.rows += sum(map(len, effect.rows.values()))
                self.counts.update(read=effect.read, used=effect.read - effect.rejected, rejected=effect.rejected)
                for row in effect.rows.get(DeadLetter.topic_name, ()):
                    require(isinstance(row["original"], bytes), "a dead letter's row without its bytes")
        return None

    def _assignment(self, effect: Open) -> Assignment:
        return {Partition(topic, 0): self.committed.get(Partition(topic, 0), Position(0)) for topic in effect.topics}

    def _read(self, effect: Read) -> Batch:
        records: list[Record] = []
        for topic, offset in self.at.items():
            here = self.held.get(topic, ())[offset : offset + effect.rows]
            records += here
            self.at[topic] = offset + len(here)
        self.idle = 0 if records else self.idle + 1
        self.now_ms += 20
        ends = frozenset(Partition(topic, 0) for topic, offset in self.at.items() if offset == len(self.held.get(topic, ())))
        return Batch(records, ends, self.now_ms)


@dataclass(frozen=True)
class Target:
    """One service and the topics that it reads."""

    name: str
    reads: tuple[str, ...]
    service: Service

    def feed(self, inputs: Sequence[Input]) -> Counter[str]:
        """The fates of ``inputs``, all of them on topics that the service reads or recalls. Raises whatever escapes the service."""
        log = Log.of(inputs)
        read = {record.address: record for topic in self.reads for record in log.held.get(topic, ())}
        everything = {record.address: record for records in log.held.values() for record in records}
        log.drive(self.service)
        letters = invariants.written(log.emits, everything)
        invariants.add_up(log.counts, len(read))
        if self.name == "store":
            require(log.rows == len(read), f"{len(read)} records were read, {log.rows} rows are stored")
        else:
            require(len(letters) >= log.counts["rejected"], f"{log.counts['rejected']} were rejected, letters are {len(letters)}")
        fates = Counter({fate: log.counts[fate] for fate in invariants.FATES})
        log.counts.clear()
        log.drive(self.service)  # from what was committed: a record that was refused once must not stop the start
        invariants.written(log.emits, everything)
        return fates


def targets(models: FeatureModels) -> tuple[Target, ...]:
    """Every service that reads Kafka; ``models`` are the feature models as compiled for the stream."""
    use_cases = load_use_cases()
    sources = label_sources(use_cases, models)
    windows = OpenWindows(models)
    made: Mapping[str, tuple[tuple[str, ...], Callable[[], Any]]] = {
        "features": (
            ("stream-frame",),
            lambda: features.features(windows, sources, rows=ROWS, fill_ms=1, grace_ms=5000, idle_ms=40),
        ),
        "inference": (("stream-feature",), lambda: inference.inference(use_cases, models.columns, ROWS, 1)),
        "online": (("stream-feature", "stream-label"), lambda: online.online(use_cases, ROWS, (0,))),
        "commands": (("stream-prediction", "stream-ack"), lambda: commands.commands(use_cases, ROWS, 1)),
        "store": (store.TOPICS, lambda: store.store(ROWS, 1)),
    }
    return tuple(Target(name, reads, service) for name, (reads, service) in made.items())


RECALLED: Mapping[str, tuple[str, ...]] = {
    "features": ("stream-window",),
    "online": (CHECKPOINT_TOPIC,),
    "commands": ("stream-command",),
}
"""What a service reads back of its own at a start, beside the topics that it reads."""
