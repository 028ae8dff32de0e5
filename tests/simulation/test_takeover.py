"""Takeovers in the middle of things: each was found by a seed, or by what a seed could do."""

import json

import pytest

from mliot.clock import ManualClock
from mliot.featuremodels import FeatureModels
from mliot.messages import Window, decode
from streaming.features.openwindows import OpenWindows
from streaming.runtime.effects import Commit, Emit, Open, Partition, Publish, Read, Rewound
from streaming.services import commands, features
from streaming.simulated import SimulatedBroker, SimulatedKafka, SimulatedLog
from tests.contract.test_services import MINUTE, START, USE_CASES, frame_value, prediction

FRAMES = [Partition("stream-frame", number) for number in range(2)]


def perform(log: SimulatedLog, effect: object) -> object:
    return getattr(log, type(effect).__name__.lower())(effect)


def until(effects, log: SimulatedLog, kind: type, times: int = 1, answers: dict | None = None):
    """Performs effects until the ``times``-th of ``kind``, which is answered as an effect still to be performed."""
    effect = next(effects)
    while True:
        times -= isinstance(effect, kind)
        if not times:
            return effect
        perform_it = (answers or {}).get(type(effect))
        effect = effects.send(perform_it(effect) if perform_it else perform(log, effect))


def test_an_instance_that_hung_does_not_say_again_that_a_command_was_sent() -> None:
    kafka = SimulatedKafka(ManualClock(START + 100 * MINUTE), partitions=1)
    broker = SimulatedBroker(kafka.clock)
    kafka.append([Emit("stream-prediction", "room-1", prediction(98).encode())])
    hanging, other = (SimulatedLog(kafka, "commands", instance=name) for name in ("0", "1"))
    effects = commands.commands(USE_CASES, 10, 1)
    saying_sent = until(effects, hanging, Commit, times=2, answers={Publish: broker.publish})
    hanging.hang(kafka.clock.now_ms())
    kafka.clock.advance(10_000)
    until(commands.commands(USE_CASES, 10, 1), other, Read, times=2, answers={Publish: broker.publish})
    with pytest.raises(Rewound, match="UNKNOWN_MEMBER_ID"):
        perform(hanging, saying_sent)
    assert [json.loads(record.value)["state"] for record in kafka.topic("stream-command")] == ["queued", "sent"]


def write_frames(kafka: SimulatedKafka, number: int, *seconds: int) -> None:
    for second in seconds:
        value = frame_value(0, f"d{number}").replace(str(START).encode(), str(START + second * 1000).encode())
        kafka.write(FRAMES[number], Emit("stream-frame", "room-1", value, "", START))


def service(models: FeatureModels, rows: int):
    return features.features(OpenWindows(models), (), rows=rows, fill_ms=1, grace_ms=0, idle_ms=10**9)


def note(kafka: SimulatedKafka, number: int) -> dict:
    return json.loads(kafka.committed("features")[FRAMES[number]].note)


def test_no_window_closes_before_what_was_read_of_it_is_read_again(models: FeatureModels) -> None:
    """Partition 1 lags behind, and holds the windows of partition 0 open, until after the restart."""
    kafka = SimulatedKafka(ManualClock(START + 100 * MINUTE))
    write_frames(kafka, 0, 0, 90, 30)
    write_frames(kafka, 1, 5)
    until(service(models, 100), SimulatedLog(kafka, "features"), Read, times=2)
    write_frames(kafka, 1, 90)
    until(service(models, 1), SimulatedLog(kafka, "features"), Read, times=8)
    closed = [decode(Window, record.value) for record in kafka.topic("stream-window")]
    assert {(w.key, w.frames) for w in closed if w.grain == "sensor_1m" and w.start_ms == START} == {("d0", 2), ("d1", 1)}


def test_a_commit_while_reading_again_forgets_nothing_that_is_needed(models: FeatureModels) -> None:
    kafka = SimulatedKafka(ManualClock(START + 100 * MINUTE))
    write_frames(kafka, 0, 0, 5, 10)
    until(service(models, 100), SimulatedLog(kafka, "features"), Read, times=2)
    write_frames(kafka, 1, 20)
    log = SimulatedLog(kafka, "features")
    effects = service(models, 100)
    until(effects, log, Read)
    log._at[FRAMES[0]] = 10**9  # the fetch of partition 0 takes longer
    batch = log.read(Read(100))
    log._at[FRAMES[0]] = 0
    perform(log, effects.send(batch._replace(at_end=frozenset())))
    assert note(kafka, 1)["oldest"] == 0
    assert note(kafka, 0)["oldest"] == 0


def test_who_is_evicted_is_told_by_what_it_reads() -> None:
    kafka = SimulatedKafka(ManualClock())
    log = SimulatedLog(kafka, "s")
    log.open(Open(("t",)))
    log.hang(kafka.clock.now_ms())
    kafka.clock.advance(7_000)
    with pytest.raises(Rewound):
        log.read(Read(1))
