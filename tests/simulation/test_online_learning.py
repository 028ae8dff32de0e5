"""The online learner's own code over a log in which the labels come long after the rows: every label learnt once, whatever crashes."""

import random
from collections import Counter

import msgspec
import pytest

from mliot.clock import ManualClock
from mliot.messages import CHECKPOINT_TOPIC, Feature, Label, Prediction, decode
from mliot.services import ServiceStatus
from mliot.usecase import load_use_cases
from streaming import online
from streaming.loop import drive, log_performers
from streaming.ports import Emit
from streaming.simulated import Crash, Faults, SimulatedKafka, SimulatedLog

START_MS = 1_764_000_000_000
MINUTE = 60_000
MINUTES = 600
USE_CASES = {"fan_speed": load_use_cases()["fan_speed"]}


def emit(message, place: str) -> Emit:
    return Emit(message.topic_name, place, message.encode())


def row(place: str, minute: int, value: float) -> Feature:
    start = START_MS + minute * MINUTE
    return Feature(
        feature_id=f"place_1m:{place}@{start}", model="features_place_1m", version="f1", grain="place_1m", key=place, place_id=place,
        start_ms=start, end_ms=start + MINUTE, frames=1, first="", last="", made_ms=start, values={"temperature_avg": value},
    )  # fmt: skip


def label(place: str, minute: int, value: float) -> Label:
    start = START_MS + minute * MINUTE
    return Label(
        use_case="fan_speed", feature_id=f"place_1m:{place}@{start}", key=place, place_id=place,
        label_ms=start + MINUTE, available_ms=start + 11 * MINUTE, value=value,
    )  # fmt: skip


def learned(seed: int) -> tuple[dict, list[Prediction]]:
    """The last checkpoint (without the extent of its batch, which crashes change) and all predictions; faults by ``seed`` (0: none)."""
    rng = random.Random(99)
    kafka = SimulatedKafka(ManualClock(START_MS + MINUTES * MINUTE), partitions=1)
    values = [(place, minute, rng.uniform(15, 35)) for minute in range(MINUTES) for place in ("000000000", "room-1")]
    kafka.append(emit(row(*each), each[0]) for each in values)
    kafka.append(emit(label(place, minute, float(value > 25)), place) for place, minute, value in values if place == "000000000")
    run(kafka, USE_CASES, Faults(seed, abort=0.1, crash_before_commit=0.1, crash_after_commit=0.1) if seed else Faults())
    predictions = [decode(Prediction, record.value) for record in kafka.topic("stream-prediction")]
    checkpoint = msgspec.json.decode(kafka.topic(CHECKPOINT_TOPIC)[-1].value)
    assert checkpoint.pop("took")
    return checkpoint, predictions


def run(kafka: SimulatedKafka, use_cases, faults: Faults) -> None:
    """The service from where it stands to the end of the log, through every crash."""
    while True:
        log = SimulatedLog(kafka, "online", faults)
        try:
            return drive(
                lambda: online.online(use_cases, 100, (0,)),
                log_performers(log),
                status=ServiceStatus("online", kafka.clock),
                stopped=lambda log=log: log.idle_reads > 3,
                idle=log.idle,
            )
        except Crash:
            continue


def checkpoints(kafka: SimulatedKafka) -> dict[str, dict]:
    """The last one of each use case."""
    return {record.key: msgspec.json.decode(record.value) for record in kafka.topic(CHECKPOINT_TOPIC)}


def test_a_use_case_that_is_added_later_learns_from_then_on_beside_the_others() -> None:
    """What the others still wait for is read again at the start, and it is new to all of it."""
    kafka = SimulatedKafka(ManualClock(START_MS + MINUTES * MINUTE), partitions=1)
    both = USE_CASES | {"added": USE_CASES["fan_speed"].model_copy(update={"name": "added"})}
    for use_cases, minutes in ((USE_CASES, range(200)), (both, range(200, 400))):
        kafka.append(emit(row(place, minute, 20.0 + minute % 9), place) for minute in minutes for place in ("000000000", "room-1"))
        labels = (label("000000000", minute, float(minute % 9 > 4)) for minute in minutes)
        kafka.append(emit(msgspec.structs.replace(each, use_case=name), "000000000") for each in labels for name in use_cases)
        run(kafka, use_cases, Faults())
    told = Counter(decode(Prediction, record.value).use_case for record in kafka.topic("stream-prediction"))
    assert 0 < told["added"] < told["fan_speed"]
    learnt = {name: state["learner"]["learnt"] for name, state in checkpoints(kafka).items()}
    assert learnt == {"fan_speed": 390, "added": 190}


@pytest.fixture(scope="module")
def undisturbed() -> tuple[dict, list[Prediction]]:
    return learned(0)


def test_a_catch_up_learns_every_label_that_is_due(undisturbed) -> None:
    checkpoint, predictions = undisturbed
    assert checkpoint["learner"]["learnt"] == MINUTES - 10
    late = [p for p in predictions if p.place_id == "000000000" and p.at_ms > START_MS + 300 * MINUTE]
    assert all(prediction.shadow for prediction in predictions)
    assert len(late) == 300


@pytest.mark.parametrize("seed", range(1, 9))
def test_crashes_change_nothing(undisturbed, seed: int) -> None:
    checkpoint, predictions = learned(seed)
    assert checkpoint == undisturbed[0]
    assert Counter(p.prediction_id for p in predictions) == Counter(p.prediction_id for p in undisturbed[1])
    assert [p.value for p in predictions] == [p.value for p in undisturbed[1]]
