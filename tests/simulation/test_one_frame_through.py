"""One frame, and then an awkward crowd, through every service's own code on the simulated log and broker."""

import json
from collections import Counter

import pytest

from mliot.clock import ManualClock
from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.messages import Command, DeadLetter, Feature, Frame, Prediction, Window, decode
from mliot.services import ServiceStatus
from streaming.features.labels import label_sources
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.runtime.driver import broker_performers, drive, log_performers, model_performers
from streaming.runtime.effects import Service
from streaming.services import bridge, commands, features, inference
from streaming.simulated import Crash, Faults, SimulatedBroker, SimulatedKafka, SimulatedLog, SimulatedModelServer, as_declared
from usecases import load_use_cases

START_MS = 1_764_000_000_000
RETENTION_MS = 30 * 86_400_000
DECODERS = load_decoders()


def frame(device: str, event_ms: int, place: str = "room-1", **values: float) -> bytes:
    payload = values | {"timestamp": event_ms}
    return json.dumps({"id": device, "name": device, "place_id": place, "payload": payload}).encode()


class World:
    """The simulated log and broker with every service between them; a crash throws a service's process away and starts it again."""

    def __init__(self, models: FeatureModels, faults: Faults | None = None) -> None:
        self.models = models
        self.faults = faults or Faults()
        self.clock = ManualClock(START_MS)
        self.kafka = SimulatedKafka(self.clock)
        self.broker = SimulatedBroker(self.clock, self.faults)
        self.use_cases = load_use_cases()
        self.model = SimulatedModelServer(as_declared(self.use_cases, lambda version, row: 2.0))
        self.counts: Counter[str] = Counter()

    def bridge(self) -> None:
        def decided(batch):
            return bridge.decide(
                batch, decoders=DECODERS, measurements=load_measurements(), retention_ms=RETENTION_MS, now_ms=self.clock.now_ms()
            )

        log = SimulatedLog(self.kafka, "bridge", self.faults)
        self._run("bridge", lambda: bridge.bridge(100, decided), log, lambda: self.broker.idle_reads > 1)

    def features(self) -> None:
        sources = label_sources(self.use_cases, self.models)
        self._through(
            "features", lambda: features.features(OpenWindows(self.models), sources, rows=100, fill_ms=1, grace_ms=5000, idle_ms=1000)
        )

    def inference(self) -> None:
        self._through("inference", lambda: inference.inference(self.use_cases, self.models.columns, 100, 1))

    def commands(self) -> None:
        self._through("commands", lambda: commands.commands(self.use_cases, 100, 1), patience=1)

    def seen(self, kind):
        return [decode(kind, record.value) for record in self.kafka.topic(kind.topic_name)]

    def _through(self, name: str, service: Service, patience: int = 320) -> None:
        while True:
            log = SimulatedLog(self.kafka, name, self.faults)
            try:
                return self._run(name, service, log, lambda log=log: log.idle_reads > patience)
            except Crash:
                continue

    def _run(self, name: str, service: Service, log: SimulatedLog, stopped) -> None:
        status = ServiceStatus(name, self.clock)
        self.broker.idle_reads = 0
        performers = {**log_performers(log), **broker_performers(self.broker), **model_performers(self.model)}
        try:
            drive(service, performers, status=status, stopped=stopped, idle=log.idle, lag=log.lag)
        finally:
            self.counts.update({f"{name}.{key}": n for key, n in status.snapshot()["counts"].items()})


def test_one_frame_becomes_one_command(models: FeatureModels) -> None:
    world = World(models)
    world.broker.offer("iot-frames-sensor", frame("room-1-air", START_MS, temperature=30.0, humidity=50.0))
    world.bridge()
    world.features()
    world.inference()
    world.commands()

    (sent,) = world.seen(Frame)
    assert world.broker.unacknowledged == 0
    grains = {row.grain: row for row in world.seen(Feature)}
    assert set(grains) == {"sensor_frame", "sensor_1m", "place_1m"}, "the hour is still open"
    assert grains["sensor_frame"].feature_id == f"sensor_frame:{sent.frame_id}"
    assert grains["place_1m"].values["temperature_avg"] == 30.0
    assert grains["place_1m"].first == "stream-frame-{}-0".format(*[r.partition for r in world.kafka.topic("stream-frame")])
    (prediction,) = world.seen(Prediction)
    assert prediction.feature_id == grains["place_1m"].feature_id
    states = [command.state for command in world.seen(Command)]
    assert states == ["queued", "sent"]
    ((topic, body, *_),) = world.broker.published
    assert topic == "iot/room-1-fan/command"
    assert json.loads(body)["decided_by"] == prediction.prediction_id

    world.broker.offer("iot/room-1-fan/command/ack", json.dumps({"command_id": json.loads(body)["command_id"], "ok": True}).encode())
    world.bridge()
    world.commands()
    assert [command.state for command in world.seen(Command)] == ["queued", "sent", "acked"]


@pytest.mark.parametrize("seed", range(1, 13))
def test_faults_lose_nothing_and_repeat_nothing(models: FeatureModels, seed: int) -> None:
    faults = Faults(seed, abort=0.1, crash_before_commit=0.1, crash_after_commit=0.1, away=0.05, redeliver=0.1)
    world = World(models, faults)
    sent = [
        (f"room-{room}-air", START_MS + step * 20_000 + room, f"room-{room}", {"temperature": 20.0 + step, "humidity": 50.0})
        for step in range(12)
        for room in range(3)
    ]
    for number, (device, event_ms, place, values) in enumerate(sent):
        world.broker.offer("iot-frames-sensor", frame(device, event_ms, place, **values))
        if number % 5 == 0:
            world.broker.offer("iot-frames-sensor", b"{broken %d" % number)
    world.clock.advance(12 * 20_000)
    world.bridge()
    world.features()
    world.inference()

    assert len({letter.dead_id for letter in world.seen(DeadLetter)}) == 8
    ids = [f.frame_id for f in world.seen(Frame)]
    assert len(set(ids)) == len(sent)
    owed_minutes = {f"place_1m:{place}@{ms - ms % 60_000}" for _, ms, place, _ in sent}
    owed = owed_minutes | {f"sensor_frame:{frame_id}" for frame_id in ids}
    rows = Counter(row.feature_id for row in world.seen(Feature))
    assert {row: n for row, n in rows.items() if n > 1} == {}
    assert owed <= set(rows)
    windows = [w for w in world.seen(Window) if w.grain == "place_1m"]
    assert sum(w.frames for w in windows) == len(sent)
    predicted = Counter(prediction.feature_id for prediction in world.seen(Prediction))
    assert predicted == Counter(owed_minutes)
