"""What every service promises (docs/service-contract.md), on the simulated ports: each service inherits the one contract."""

import json
from typing import ClassVar

import pytest

from mliot.clock import ManualClock
from mliot.errors import Transient
from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.messages import Ack, Command, DeadLetter, Feature, Label, Prediction, decode
from mliot.services import ServiceStatus
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.runtime.driver import broker_performers, drive, log_performers, model_performers
from streaming.runtime.effects import Deliver, Emit, Positions, Read, Receive, Save, Score, Service
from streaming.services import bridge, commands, features, inference, online, store
from streaming.simulated import SimulatedBroker, SimulatedKafka, SimulatedLog, SimulatedModelServer, SimulatedStore, as_declared
from usecases import load_use_cases

START = 1_764_000_000_000
MINUTE = 60_000
USE_CASES = load_use_cases()
DECODERS = load_decoders()


def feature(minute: int, place: str = "room-1") -> Feature:
    start = START + minute * MINUTE
    return Feature(
        feature_id=f"place_1m:{place}@{start}", model="features_place_1m", version="f1", grain="place_1m", key=place, place_id=place,
        start_ms=start, end_ms=start + MINUTE, frames=1, first="", last="", made_ms=start, values={"temperature_avg": 20.0},
    )  # fmt: skip


def prediction(minute: int) -> Prediction:
    row = feature(minute)
    return Prediction(
        prediction_id=f"{row.feature_id}+fan_speed+v1", use_case="fan_speed", feature_id=row.feature_id, model_version="v1",
        feature_version="f1", key="room-1", place_id="room-1", at_ms=row.end_ms, for_ms=row.end_ms, made_ms=row.end_ms, value=2.0,
    )  # fmt: skip


def frame_value(minute: int, device: str = "d") -> bytes:
    ms = START + minute * MINUTE
    body = {
        "frame_id": f"{device}@{ms}#00000000",
        "device": device,
        "place_id": "room-1",
        "event_ms": ms,
        "arrived_ms": ms,
        "undated": False,
    }
    return json.dumps(body | {"mqtt_topic": "iot-frames-sensor", "payload": {"temperature": 20.0}}).encode()


class World:
    """One service on simulated ports. ``away`` names an effect that fails so many times before it succeeds."""

    def __init__(self, models: FeatureModels) -> None:
        self.models = models
        self.kafka = SimulatedKafka(ManualClock(START + 100 * MINUTE), partitions=1)
        self.broker = SimulatedBroker(self.kafka.clock)
        self.store = SimulatedStore()
        self.model = SimulatedModelServer(as_declared(USE_CASES, lambda version, row: 1.0))
        self.away: dict[type, int] = {}
        self.said: list[str] = []

    def run(self, name: str, service: Service, most_effects: int = 10**6) -> dict[str, int]:
        """Runs until nothing comes any more, or is told to stop after so many effects."""
        performed: list[type] = []
        log = SimulatedLog(self.kafka, name)
        status = ServiceStatus(name, self.kafka.clock)
        self.broker.idle_reads = 0
        performers = {
            **log_performers(log),
            **broker_performers(self.broker),
            **model_performers(self.model),
            Positions: self.store.positions,
            Save: self.store.save,
        }

        def troubled(kind: type, perform):
            def answer(effect):
                performed.append(kind)
                if self.away.get(kind, 0):
                    self.away[kind] -= 1
                    raise Transient(f"{kind.__name__} is away")
                return perform(effect)

            return answer

        def idle(seconds: float) -> None:
            self.said.append(status.snapshot()["state"])
            log.idle(seconds)

        drive(
            service,
            {kind: troubled(kind, perform) for kind, perform in performers.items()},
            status=status,
            stopped=lambda: len(performed) >= most_effects or log.idle_reads > 3 or self.broker.idle_reads > 3,
            idle=idle,
        )
        assert status.snapshot()["state"] == "stopping"
        return status.snapshot()["counts"]


class ServiceContract:
    """The contract. ``source`` is the topic read, ``good`` makes the n-th good record, ``depends`` the effect on another part."""

    name: ClassVar[str]
    source: ClassVar[str]
    depends: ClassVar[type] = Read

    def service(self, world: World) -> Service:
        raise NotImplementedError

    def good(self, n: int) -> bytes:
        raise NotImplementedError

    def offer(self, world: World, *values: bytes) -> None:
        world.kafka.append(Emit(self.source, "room-1", value) for value in values)

    def letters(self, world: World) -> list[DeadLetter]:
        return [decode(DeadLetter, record.value) for record in world.kafka.topic("stream-deadletter")]

    def output(self, world: World) -> list[bytes]:
        topics = sorted({partition.topic for partition in world.kafka.logs} - {self.source})
        return [record.value for topic in topics for record in world.kafka.topic(topic)]

    @pytest.fixture
    def world(self, models: FeatureModels) -> World:
        return World(models)

    def test_records_add_up(self, world: World) -> None:
        self.offer(world, *(self.good(n) for n in range(5)), b"{broken", self.good(2))
        counts = world.run(self.name, self.service(world))
        assert counts["read"] == 7
        assert counts["rejected"] == 1
        assert counts["read"] == sum(counts.get(fate, 0) for fate in ("used", "rejected", "duplicate", "late", "passed"))

    def test_what_is_broken_is_not_counted_as_used(self, world: World) -> None:
        self.offer(world, *(b"{broken %d" % n for n in range(3)))
        counts = world.run(self.name, self.service(world))
        assert {fate: counts.get(fate, 0) for fate in ("read", "used", "rejected")} == {"read": 3, "used": 0, "rejected": 3}

    def test_a_bad_record_is_kept_whole_with_its_reason_and_the_others_go_on(self, world: World) -> None:
        self.offer(world, self.good(0), b"\xff\x00 not a message", self.good(1))
        world.run(self.name, self.service(world))
        (letter,) = self.letters(world)
        assert letter.original == b"\xff\x00 not a message"
        assert letter.service == self.name
        assert letter.reason

    @pytest.mark.parametrize("most_effects", range(1, 10))
    def test_a_stop_after_any_effect_hands_back_what_was_not_committed(self, world: World, most_effects: int) -> None:
        self.offer(world, *(self.good(n) for n in range(4)))
        world.run(self.name, self.service(world), most_effects)
        world.broker.reconnect()
        world.run(self.name, self.service(world))
        whole = World(world.models)
        self.offer(whole, *(self.good(n) for n in range(4)))
        whole.run(self.name, self.service(whole))
        assert len(self.output(world)) == len(self.output(whole))

    def test_a_restart_repeats_nothing(self, world: World) -> None:
        self.offer(world, *(self.good(n) for n in range(4)))
        world.run(self.name, self.service(world))
        before = self.output(world)
        world.run(self.name, self.service(world))
        assert self.output(world) == before

    def test_it_says_that_it_waits_and_goes_on(self, world: World) -> None:
        self.offer(world, self.good(0))
        world.away = {self.depends: 3}
        counts = world.run(self.name, self.service(world))
        assert world.said == ["waiting"] * 3
        assert counts["errors"] == 3
        assert counts["read"] == 1


class TestBridge(ServiceContract):
    name, source, depends = "bridge", "iot-frames-sensor", Receive

    def service(self, world: World) -> Service:
        def decided(batch):
            return bridge.decide(
                batch, decoders=DECODERS, measurements=load_measurements(), retention_ms=10**12, now_ms=world.kafka.clock.now_ms()
            )

        return lambda: bridge.bridge(3, decided)

    def good(self, n: int) -> bytes:
        return json.dumps({"id": f"d{n}", "payload": {"temperature": 20, "timestamp": START}}).encode()

    def offer(self, world: World, *values: bytes) -> None:
        for value in values:
            world.broker.offer(self.source, value)

    def output(self, world: World) -> list[bytes]:
        """By id: what came again before it was acknowledged is there twice under one id, and counts once downstream."""
        return sorted({json.loads(value)["frame_id"].encode() for value in super().output(world)})

    def test_nothing_is_acknowledged_before_kafka_has_it(self, world: World) -> None:
        self.offer(world, self.good(0))
        log = SimulatedLog(world.kafka, self.name)
        tries: list[float] = []

        def away(_) -> None:
            raise Transient("Kafka is away")

        drive(
            self.service(world),
            {**log_performers(log), **broker_performers(world.broker), Deliver: away},
            status=ServiceStatus("bridge", world.kafka.clock),
            stopped=lambda: len(tries) > 5,
            idle=tries.append,
        )
        assert world.broker.unacknowledged == 1


class TestFeatures(ServiceContract):
    name, source = "features", "stream-frame"

    def service(self, world: World) -> Service:
        windows = OpenWindows(world.models)
        return lambda: features.features(windows, (), rows=3, fill_ms=1, grace_ms=1000, idle_ms=100)

    def good(self, n: int) -> bytes:
        return frame_value(n)


class TestInference(ServiceContract):
    name, source, depends = "inference", "stream-feature", Score

    def service(self, world: World) -> Service:
        return lambda: inference.inference(USE_CASES, world.models.columns, 3, 1)

    def good(self, n: int) -> bytes:
        return feature(n).encode()


class TestOnline(ServiceContract):
    name, source = "online", "stream-feature"

    def service(self, world: World) -> Service:
        return lambda: online.online(USE_CASES, 3, (0,))

    def good(self, n: int) -> bytes:
        return feature(n).encode()

    def output(self, world: World) -> list[bytes]:
        return [record.value for record in world.kafka.topic("stream-prediction")]


class TestCommands(ServiceContract):
    name, source = "commands", "stream-prediction"

    def service(self, world: World) -> Service:
        return lambda: commands.commands(USE_CASES, 3, 1)

    def good(self, n: int) -> bytes:
        return prediction(98 + n).encode()

    def test_an_ack_that_nobody_waits_for_passes(self, world: World) -> None:
        ack = Ack(command_id="room-1@1#00000000", device="d", ok=True, at_ms=START, arrived_ms=START)
        world.kafka.append([Emit("stream-ack", "room-1", ack.encode())])
        counts = world.run(self.name, self.service(world))
        assert (counts["read"], counts["passed"], counts["ack_of_none_under_way"]) == (1, 1, 1)

    @pytest.mark.parametrize("hours", [0.1, 5, 500])
    def test_a_command_under_way_is_ended_however_long_the_service_was_away(self, world: World, hours: float) -> None:
        self.offer(world, self.good(0))
        world.run(self.name, self.service(world))
        world.kafka.clock.ms += round(hours * 60) * MINUTE
        for _ in range(2):
            world.run(self.name, self.service(world))
        states = [decode(Command, record.value).state for record in world.kafka.topic("stream-command")]
        assert states == ["queued", "sent", "expired"]

    def test_a_record_of_its_own_log_that_is_no_command_is_named_and_counted(self, world: World) -> None:
        world.kafka.append([Emit("stream-command", "room-1", b'{"state": "queued"}')])
        self.offer(world, self.good(0))
        counts = world.run(self.name, self.service(world))
        (letter,) = self.letters(world)
        assert (letter.source, letter.original) == ("stream-command", b'{"state": "queued"}')
        assert letter.reason == "not a message of stream-command: Object missing required field `command_id`"
        assert (counts["unreadable_commands"], counts["read"], counts["used"]) == (1, 1, 1)


class TestStore(ServiceContract):
    name, source, depends = "store", "stream-label", Save

    def service(self, world: World) -> Service:
        return lambda: store.store(3, 1)

    def good(self, n: int) -> bytes:
        return Label(
            use_case="fan_speed", feature_id=f"place_1m:room-1@{n}", key="room-1", place_id="room-1", label_ms=n, available_ms=n, value=1.0
        ).encode()

    def letters(self, world: World) -> list[DeadLetter]:
        rows = world.store.rows["stream-deadletter"].values()
        kept = ("service", "reason", "source", "key", "at_ms")
        return [
            DeadLetter.of(row["original"], **{name: row[name] for name in kept})  # the row holds the letter whole
            for row in rows
        ]

    def output(self, world: World) -> list[bytes]:
        return [json.dumps(row["id"]).encode() for rows in world.store.rows.values() for row in rows.values()]

    def test_another_writer_makes_it_start_over(self, world: World) -> None:
        self.offer(world, self.good(0), self.good(1))
        world.run(self.name, self.service(world))
        world.store.at = {partition: offset - 1 for partition, offset in world.store.at.items() if offset}
        counts = world.run(self.name, self.service(world))
        assert counts["read"] == 1
        assert len(self.output(world)) == 2
