"""Everything that the services decided over hours of frames, decided again from the log that they left; and what is falsified is named."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from learning.answers import answers, matrix
from learning.store import ModelStore
from lineage.audit import LogRecord
from lineage.decide_again.adapters import Models
from lineage.decide_again.engine import replay
from lineage.decide_again.parts import Parts
from lineage.decide_again.past import Asked, Extent
from lineage.decide_again.report import NO_LEARNER, OTHER_SQL, Report
from mliot.clock import ManualClock
from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.messages import Command, Feature, Label, Message, Prediction, Window, decode
from mliot.services import ServiceStatus
from mliot.usecase import UseCase
from streaming.features.labels import label_sources
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.runtime.driver import broker_performers, drive, log_performers, model_performers
from streaming.runtime.effects import Champion, Champions, Score, Scored, Scores, Service
from streaming.services import bridge, commands, features, inference, online
from streaming.simulated import SimulatedBroker, SimulatedKafka, SimulatedLog
from tests.simulation.test_one_frame_through import RETENTION_MS, START_MS, frame
from usecases import load_use_cases

MINUTE, HOUR = 60_000, 3_600_000
HOURS = 26
LIVE = 10
"""The last so many minutes are decided as they pass, so that commands follow; the hours before are caught up with."""
GRACE_MS = 5000
DECODERS = load_decoders()


class Endpoint:
    """The champions of a model store, asked as the endpoint asks them."""

    def __init__(self, store: ModelStore, versions: Mapping[str, str]) -> None:
        self._models = Models(store)
        self._versions = versions

    def champions(self, effect: Champions) -> Mapping[str, Champion]:
        cards = {name: self._models(name, version)[0] for name, version in self._versions.items()}
        return {name: Champion(self._versions[name], card.features, card.columns) for name, card in cards.items()}

    def score(self, effect: Score) -> Scores:
        card, scorer = self._models(effect.use_case, self._versions[effect.use_case])
        given = [{name: value for name, value in row.items() if value is not None} for row in effect.rows]
        scored = [Scored(*answer) for answer in answers(scorer.score(matrix(given, card.columns)), card)]
        return Scores(self._versions[effect.use_case], scored)


def readings(hours: int) -> list[tuple[int, bytes]]:
    """Frames of the reference room, another one and a pipeline branch with when they arrive: some twice, some too late for their minute."""
    rng = random.Random(5)
    sent: list[tuple[int, bytes]] = []
    for step in range(hours * 60):
        at = START_MS + step * MINUTE
        for second in (8_000, 38_000):
            warmth = 22 + 6 * rng.random()
            late = rng.choice((90_000, 100 * MINUTE)) if rng.random() < 0.03 else 0
            common = {"temperature": warmth, "humidity": 40 + 20 * rng.random(), "pressure": 101_000 + 300 * rng.random()}
            sent.append((at + second + late, frame("room-1-air", at + second, "room-1", **common, luminosity=rng.uniform(0, 900))))
            if rng.random() < 0.03:
                sent.append((at + second + 20_000, sent[-1][1]))
            reference = frame("iot_sensor_0", at + second + 1, "000000000", **common, fan_speed=float(warmth > 25) + float(warmth > 27))
            sent.append((at + second + 1, reference))
        sent.append((at + 7_000, frame("flow", at + 7_000, "water-1", water_flow=30 + 10 * rng.random())))
    return sorted(sent, key=lambda each: each[0])


@dataclass
class World:
    """The services over one simulated log, batch by batch as frames arrive."""

    models: FeatureModels
    store: ModelStore
    versions: Mapping[str, str]
    hours: int = HOURS
    use_cases: Mapping[str, UseCase] = field(default_factory=load_use_cases)

    def __post_init__(self) -> None:
        self.clock = ManualClock(START_MS)
        self.kafka = SimulatedKafka(self.clock)
        self.broker = SimulatedBroker(self.clock)
        self._windows = OpenWindows(self.models)

    def run(self) -> None:
        """A stretch of frames, then each service in turn: with every stretch all of them start again."""
        sent = readings(self.hours)
        live = self.hours * HOUR - LIVE * MINUTE
        begin = START_MS
        for end in (*range(6 * HOUR, live, 6 * HOUR), *range(live, self.hours * HOUR + MINUTE, MINUTE)):
            for message in (message for at, message in sent if begin <= at < START_MS + end):
                self.broker.offer("iot-frames-sensor", message)
            begin = START_MS + end
            self.clock.ms = begin + 1000
            for name, service in self._services().items():
                self._run(name, service)

    def source(self) -> "Topics":
        return Topics({name: self.kafka.topic(name) for name in {partition.topic for partition in self.kafka.logs}})

    def _services(self) -> dict[str, Service]:
        measurements, cases = load_measurements(), self.use_cases
        sources = label_sources(cases, self.models)

        def decided(batch):
            return bridge.decide(batch, decoders=DECODERS, measurements=measurements, retention_ms=RETENTION_MS, now_ms=self.clock.now_ms())

        return {
            "bridge": lambda: bridge.bridge(500, decided),
            "features": lambda: features.features(
                self._windows, sources, rows=300, fill_ms=1, grace_ms=GRACE_MS, idle_ms=10 * HOURS * HOUR
            ),
            "inference": lambda: inference.inference(cases, self.models.columns, 200, 1),
            "online": lambda: online.online(cases, 200, (0, 1)),
            "commands": lambda: commands.commands(cases, 50, 1),
        }

    def _run(self, name: str, service: Service) -> None:
        log = SimulatedLog(self.kafka, name)
        self.broker.idle_reads = 0
        endpoint = Endpoint(self.store, self.versions)
        performers = {**log_performers(log), **broker_performers(self.broker), **model_performers(endpoint)}
        idle = (lambda: self.broker.idle_reads > 1) if name == "bridge" else (lambda: log.idle_reads > 3)
        drive(service, performers, status=ServiceStatus(name, self.clock), stopped=idle, idle=log.idle, lag=log.lag)
        log.close()


@dataclass
class Topics:
    """The log as a replay reads it, in memory: what a test changes in it was never decided."""

    records: dict[str, list]
    first: dict[str, int] = field(default_factory=dict)

    def read(self, topic: str, extent: Extent | None = None) -> Iterator[LogRecord]:
        for record in self.records.get(topic, []):
            begin, end = (extent or {}).get(record.partition, (0, None)) if extent is None or record.partition in extent else (0, 0)
            if max(begin, self.first.get(topic, 0)) <= record.offset and (end is None or record.offset < end):
                yield LogRecord(record.partition, record.offset, record.value)

    def begins(self, topic: str) -> Mapping[int, int]:
        return {record.partition: self.first.get(topic, 0) for record in self.records.get(topic, [])}

    def changed(self, kind: type[Message], change: Callable[[Message], Message | None]) -> "Topics":
        """The same log with one kind of message changed (where ``change`` answers a message)."""
        records = [
            record._replace(value=(change(message := decode(kind, record.value)) or message).encode())
            for record in self.records[kind.topic_name]
        ]
        return Topics({**self.records, kind.topic_name: records}, dict(self.first))


class NoStore:
    def __call__(self, kind: type, ids: Sequence[str]) -> Mapping[str, Message]:
        return {}


class Silent:
    def begin(self, what: str, total: int | None = None) -> Callable[[int], None]:
        return lambda more: None


@pytest.fixture(scope="module")
def world(models: FeatureModels, save_constant_model, tmp_path_factory: pytest.TempPathFactory) -> World:
    store = ModelStore(tmp_path_factory.mktemp("models"))
    use_cases = load_use_cases()
    versions = {name: save_constant_model(store, use_case, 2.0 if use_case.classes else 30.0) for name, use_case in use_cases.items()}
    made = World(models, store, versions)
    made.run()
    return made


def parts(world: World, source: Topics | None = None, **changes) -> Parts:
    given = {
        "source": source or world.source(), "models": world.models, "use_cases": world.use_cases, "model": Models(world.store),
        "stored": NoStore(), "progress": Silent(),
    }  # fmt: skip
    return Parts(**given | changes)


def every(world: World, source: Topics | None = None, **changes) -> Report:
    return replay(Asked(sample=10**9), parts(world, source, **changes))


def of_kind(world: World, kind: type) -> list:
    return [decode(kind, record.value) for record in world.kafka.topic(kind.topic_name)]


def test_everything_decided_again_is_the_same_to_the_last_bit(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    report = every(world)
    predictions = of_kind(world, Prediction)
    assert report.total == len(report.decisions) == len(predictions)
    assert report.unknown == {}
    assert [(d.id, d.tally.differ) for d in report.decisions if d.verdict != "same"] == []
    assert sum(p.shadow for p in predictions) > 1000
    assert {p.use_case for p in predictions if p.shadow} == {p.use_case for p in predictions if not p.shadow} == {"fan_speed", "water_flow"}
    assert len([c for c in of_kind(world, Command) if c.state == "queued"]) > 5
    assert len([c for c in of_kind(world, Command) if c.state == "withheld"]) > 100, "of the hours that were caught up with"
    assert report.with_late_frames > 5
    with capsys.disabled():
        print(f"\n{len(report.decisions)} decisions, 0 differ; {report.with_late_frames} without frames that came late")


def test_a_sample_is_drawn_by_its_seed_and_not_by_the_order_of_reading(world: World) -> None:
    asked, turned = Asked(sample=50, seed=3), world.source()
    turned.records[Prediction.topic_name] = sorted(turned.records[Prediction.topic_name], key=lambda r: (-r.partition, r.offset))
    drawn = [{d.id for d in replay(asked, parts(world, source)).decisions} for source in (world.source(), turned)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 50
    assert {d.id for d in replay(Asked(sample=50, seed=4), parts(world)).decisions} != drawn[0]
    assert replay(asked, parts(world)).equal


def newest(world: World, shadow: bool, use_case: str = "fan_speed") -> Prediction:
    return [p for p in of_kind(world, Prediction) if p.use_case == use_case and p.shadow is shadow][-1]


def only(id: str, change: Callable) -> Callable:
    return lambda message: change(message) if message.id == id else None


def falsified(name: str) -> Callable:
    return lambda row: msgspec.structs.replace(row, values=row.values | {name: row.values[name] + 0.01})


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("use_case", ["fan_speed", "water_flow"])
def test_a_falsified_prediction_is_named(world: World, shadow: bool, use_case: str) -> None:
    spoilt = newest(world, shadow, use_case)
    source = world.source().changed(Prediction, only(spoilt.id, lambda p: msgspec.structs.replace(p, value=p.value + 1)))
    report = replay(Asked(sample=10**9, seed=1) if shadow else Asked(rows=frozenset({spoilt.feature_id})), parts(world, source))
    ((one, values),) = [(d, d.tally.differ) for d in report.decisions if d.verdict == "differs"]
    assert one.id == spoilt.id
    assert ("prediction", "value") in {(v.part, v.name) for v in values}
    assert not report.equal


def test_a_falsified_feature_row_is_named_whoever_was_asked_with_it(world: World) -> None:
    row = newest(world, shadow=True).feature_id
    report = every(world, world.source().changed(Feature, only(row, falsified("temperature_avg"))))
    differ = [d for d in report.decisions if d.verdict == "differs"]
    assert {d.row for d in differ} == {row}
    assert {d.then.shadow for d in differ} == {True, False}
    assert {(v.part, v.name) for d in differ for v in d.tally.differ} == {("feature row", "temperature_avg")}


def test_a_falsified_frame_is_seen_in_the_windows_the_rows_and_what_was_said(world: World) -> None:
    window = next(w for w in of_kind(world, Window) if w.grain == "place_1m" and w.start_ms > START_MS + HOURS * HOUR // 2)
    source = world.source()
    topic, partition, offset = window.first.rsplit("-", 2)
    records = source.records[topic]
    (index,) = [i for i, r in enumerate(records) if (r.partition, r.offset) == (int(partition), int(offset))]
    body = msgspec.json.decode(records[index].value)
    body["payload"]["temperature"] += 0.5
    records[index] = records[index]._replace(value=msgspec.json.encode(body))
    report = every(world, source)
    names = {(v.part, v.name) for d in report.decisions if d.row == window.id for v in d.tally.differ}
    assert {("window", "temperature_avg"), ("feature row", "temperature_avg"), ("feature row", "temperature_slope")} <= names


def test_a_falsified_command_is_named(world: World) -> None:
    command = [c for c in of_kind(world, Command) if c.state == "queued"][-1]
    report = every(world, world.source().changed(Command, only(command.id, lambda c: msgspec.structs.replace(c, value=0.0))))
    ((one, values),) = [(d, d.tally.differ) for d in report.decisions if d.verdict == "differs"]
    assert one.id == command.prediction_id
    assert [(v.part, v.name, v.then, v.now) for v in values] == [("command", "value", 0.0, 2.0)]


def test_what_was_withheld_is_decided_again_too(world: World) -> None:
    """One that was sent is said to have been withheld: it would be sent, and the one after it, that changes, need not wait."""
    command = [c for c in of_kind(world, Command) if c.state == "queued"][-1]
    held_back = msgspec.structs.replace(command, state="withheld", reason="dwell: the value changed 1 s ago, and stays for 120 s")
    report = every(world, world.source().changed(Command, only(command.id, lambda _: held_back)))
    ((one, values),) = [(d, d.tally.differ) for d in report.decisions if d.verdict == "differs"]
    assert one.id == command.prediction_id
    assert [(v.name, v.then, v.now) for v in values] == [("state", "withheld", "queued"), ("reason", held_back.reason, "")]


def test_a_falsified_row_of_the_store_is_named(world: World) -> None:
    spoilt = newest(world, shadow=False)

    def stored(kind: type, ids: Sequence[str]) -> Mapping[str, Message]:
        return {spoilt.id: msgspec.structs.replace(spoilt, probability=0.1)} if spoilt.id in ids else {}

    report = every(world, stored=stored)
    ((one, values),) = [(d, d.tally.differ) for d in report.decisions if d.verdict == "differs"]
    assert one.id == spoilt.id
    assert [(v.part, v.name, v.then) for v in values] == [("prediction in the store", "probability", 0.1)]


def test_what_retention_has_taken_is_counted_apart_and_never_called_equal(world: World) -> None:
    source = world.source()
    source.first["stream-frame"] = 1000
    report = every(world, source)
    assert report.unknown.total() > 500
    assert report.count("differs") == 0
    assert report.replayed == len(report.decisions) - report.unknown.total() > 500
    assert not report.equal


def test_a_gap_in_the_checkpoints_leaves_out_what_was_answered_in_it(world: World) -> None:
    source = world.source()
    records = source.records["stream-checkpoint"]
    source.records["stream-checkpoint"] = [r for i, r in enumerate(records) if not len(records) // 3 < i < len(records) // 2]
    report = every(world, source)
    assert set(report.unknown) == {NO_LEARNER}
    assert 0 < report.unknown[NO_LEARNER] < len(of_kind(world, Prediction)) // 3
    assert report.count("differs") == 0


def test_rows_of_another_version_of_the_sql_are_counted_apart(world: World) -> None:
    row = newest(world, shadow=False).feature_id
    source = world.source().changed(Feature, only(row, lambda r: msgspec.structs.replace(r, version="before")))
    report = every(world, source)
    assert set(report.unknown) == {OTHER_SQL}
    assert {d.row for d in report.decisions if d.unknown} == {row}
    assert report.count("differs") == 0


def test_a_model_that_is_gone_is_named(world: World, tmp_path) -> None:
    report = every(world, model=Models(ModelStore(tmp_path)))
    assert len(report.unknown) == 2
    assert all("no model" in why for why in report.unknown)
    assert report.count("same") == sum(p.shadow for p in of_kind(world, Prediction))


def test_a_single_row_is_made_again_with_every_value_in_the_report(world: World) -> None:
    row = newest(world, shadow=True, use_case="water_flow").feature_id
    report = replay(Asked(rows=frozenset({row})), parts(world), keep=True)
    assert report.equal
    assert {d.row for d in report.decisions} == {row}
    values = {(v.part, v.name) for d in report.decisions for v in d.tally.values}
    assert {("window", "frames"), ("feature row", "water_flow_lag_24"), ("prediction", "value")} <= values
    assert of_kind(world, Label)
