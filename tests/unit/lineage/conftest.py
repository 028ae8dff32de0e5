"""A small world in which everything is as it should be, for tests to spoil: frames, and all that follows from them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from lineage.audit import READ_ORDER, Audit, LogRecord, Scope
from lineage.ledger import Report
from mliot.frames import frame_id
from mliot.journal import Acknowledged
from mliot.messages import (
    MESSAGES,
    Ack,
    Command,
    DeadLetter,
    Feature,
    Frame,
    Label,
    Message,
    Prediction,
    Window,
    command_id,
    prediction_id,
)  # fmt: skip
from tests.builtingrains import FRAME_GRAIN, GRAINS
from usecases import load_use_cases

START_MS = 1_764_000_000_000 // 3_600_000 * 3_600_000
GRACE_MS = IDLE_MS = 5_000
USE_CASES = load_use_cases()
DEVICES = (("room-1-a", "room-1", 0), ("room-1-b", "room-1", 0), ("room-2-a", "room-2", 1))
Row = tuple[str, str]


def frame(device: str, place_id: str, event_ms: int, arrived_ms: int | None = None) -> Frame:
    body = f"{device} {event_ms}".encode()
    return Frame(
        frame_id=frame_id(device, event_ms, body),
        device=device,
        place_id=place_id,
        event_ms=event_ms,
        arrived_ms=event_ms + 40 if arrived_ms is None else arrived_ms,
        mqtt_topic="iot-frames-sensor",
        payload={"temperature": 20.0},
    )


@dataclass
class World:
    """Kafka's records by kind, in the order of their offsets in each partition; the rows of store and warehouse; the journals."""

    log: dict[type[Message], list[tuple[int, Message]]] = field(default_factory=lambda: {kind: [] for kind in MESSAGES})
    store: dict[type[Message], list[Row]] = field(default_factory=lambda: {kind: [] for kind in MESSAGES})
    warehouse: dict[type[Message], list[Row]] = field(default_factory=lambda: {kind: [] for kind in MESSAGES})
    warehouse_twice: dict[type[Message], list[str]] = field(default_factory=lambda: defaultdict(list))
    journal: list[Acknowledged] = field(default_factory=list)
    scope: Scope = field(default_factory=lambda: Scope(USE_CASES, GRAINS, START_MS + 2 * 3_600_000, GRACE_MS, IDLE_MS))

    def records(self, kind: type[Message]) -> Iterator[LogRecord]:
        offsets: dict[int, int] = defaultdict(int)
        for partition, message in self.log[kind]:
            yield LogRecord(partition, offsets[partition], message.encode())
            offsets[partition] += 1

    def copy_to_sinks(self) -> None:
        """Store and warehouse as they must be for this log."""
        loaded_to: dict[tuple[str, int], int] = {}
        for kind in MESSAGES:
            rows = {}
            for (partition, message), record in zip(self.log[kind], self.records(kind), strict=True):
                rows.setdefault(message.id, f"{kind.topic_name}-{partition}-{record.offset}")
                loaded_to[kind.topic_name, partition] = record.offset + 1
            self.store[kind], self.warehouse[kind] = list(rows.items()), list(rows.items())
        self.scope = replace(self.scope, loaded_to=loaded_to)

    def audit(self, *, strict: bool = False) -> Report:
        audit = Audit(self.scope)
        if self.scope.loaded_to is not None:
            for kind in MESSAGES:
                audit.loaded(kind, self.warehouse[kind], self.warehouse_twice[kind])
        audit.published(self.journal)
        for kind in READ_ORDER:
            audit.logged(kind, self.records(kind))
        for kind in MESSAGES:
            audit.stored(kind, self.store[kind])
        return audit.report(strict=strict)


def feature_of(id: str, grain: str, key: str, place_id: str, start_ms: int, end_ms: int, frames: int, made_ms: int) -> Feature:
    at = "stream-frame-0-0"
    return Feature(feature_id=id, model=f"features_{grain}", version="v1", grain=grain, key=key, place_id=place_id, start_ms=start_ms,
                   end_ms=end_ms, frames=frames, first=at, last=at, made_ms=made_ms, values={"temperature_avg": 20.0})  # fmt: skip


def answer(feature: Feature, *, version: str = "m1", shadow: bool = False, value: float = 2.0) -> Prediction:
    return Prediction(prediction_id=prediction_id(feature.feature_id, "fan_speed", version), use_case="fan_speed",
                      feature_id=feature.feature_id, model_version=version, feature_version="v1", key=feature.key,
                      place_id=feature.place_id, at_ms=feature.end_ms, for_ms=feature.end_ms, made_ms=feature.made_ms + 30, value=value,
                      probability=0.9, shadow=shadow)  # fmt: skip


def order(prediction: Prediction, state: str, at_ms: int) -> Command:
    decided_ms = prediction.made_ms + 10
    device = f"{prediction.place_id}-fan"
    return Command(command_id=command_id(prediction.place_id, decided_ms, prediction.prediction_id, device), state=state, device=device,
                   place_id=prediction.place_id, use_case="fan_speed", prediction_id=prediction.prediction_id, action="fan_speed",
                   value=prediction.value, decided_ms=decided_ms, expires_ms=decided_ms + 90_000, at_ms=at_ms)  # fmt: skip


def sound_world() -> World:
    """Three devices in two places, a frame each 20 s for three minutes, all windows closed, every place's minute answered and obeyed."""
    world = World()
    counts: dict[str, int] = defaultdict(int)
    spans = {}
    for at in range(0, 180_000, 20_000):
        for device, place_id, partition in DEVICES:
            one = frame(device, place_id, START_MS + at)
            world.log[Frame].append((partition, one))
            world.journal.append(Acknowledged("frame", one.frame_id, one.mqtt_topic, one.arrived_ms))
            own = feature_of(
                GRAINS.rows_of_frame(one.frame_id)[0], FRAME_GRAIN, device, place_id, one.event_ms, one.event_ms, 1, one.arrived_ms + 60
            )
            world.log[Feature].append((partition, own))
            for span in GRAINS.windows_of(device, place_id, one.event_ms):
                counts[span.id] += 1
                spans[span.id] = (span, place_id, partition)
    for id, (span, place_id, partition) in sorted(spans.items(), key=lambda item: (item[1][0].end_ms, item[0])):
        made_ms = span.end_ms + GRACE_MS + 100
        row = feature_of(id, span.grain.name, span.key, place_id, span.start_ms, span.end_ms, counts[id], made_ms)
        window = Window(window_id=id, grain=span.grain.name, key=span.key, place_id=place_id, start_ms=span.start_ms, end_ms=span.end_ms,
                        frames=counts[id], first=row.first, last=row.last, values=row.values)  # fmt: skip
        world.log[Window].append((partition, window))
        world.log[Feature].append((partition, row))
        if span.grain.name == "place_1m":
            follow(world, row, partition)
    bad = DeadLetter.of(b"not JSON", source="iot-frames-sensor", service="bridge", reason="not JSON", at_ms=START_MS)
    world.log[DeadLetter].append((0, bad))
    world.journal.append(Acknowledged("dead", bad.dead_id, bad.source, START_MS))
    world.copy_to_sinks()
    return world


def follow(world: World, row: Feature, partition: int) -> None:
    """Answers of champion and shadow, the label, and the command with its states and ack."""
    prediction = answer(row)
    world.log[Prediction] += [(partition, prediction), (partition, answer(row, version="online-1", shadow=True))]
    label = Label(use_case="fan_speed", feature_id=row.feature_id, key=row.key, place_id=row.place_id, label_ms=row.end_ms,
                  available_ms=row.end_ms + 600_000, value=2.0)  # fmt: skip
    world.log[Label].append((partition, label))
    at_ms = prediction.made_ms + 10
    states = [order(prediction, state, at_ms + 20 * i) for i, state in enumerate(("queued", "sent", "acked"))]
    world.log[Command] += [(partition, state) for state in states]
    ack = Ack(command_id=states[0].command_id, device=states[0].device, ok=True, at_ms=at_ms + 30, arrived_ms=at_ms + 35)
    world.log[Ack].append((partition, ack))


@pytest.fixture
def world() -> World:
    return sound_world()


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """The makers above, for tests that need them."""
    return SimpleNamespace(frame=frame, feature_of=feature_of, answer=answer, order=order, sound_world=sound_world,
                           START_MS=START_MS, GRACE_MS=GRACE_MS, USE_CASES=USE_CASES)  # fmt: skip
