"""The online learner's own code over a log in which the labels come long after the rows: every label learnt once, whatever crashes."""

import random
from collections import Counter

import msgspec
import pytest

from lineage.audit import LogRecord
from lineage.decide_again import online_answers as learn
from mliot.clock import ManualClock
from mliot.messages import CHECKPOINT_TOPIC, Feature, Label, Prediction, decode
from mliot.services import ServiceStatus
from streaming.learning.merge import Item
from streaming.runtime.driver import drive, log_performers
from streaming.runtime.effects import Emit, Partition
from streaming.services import online
from streaming.simulated import Crash, Faults, SimulatedKafka, SimulatedLog
from usecases import load_use_cases

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


FAULTS = {
    "abort": 0.05, "crash_before_commit": 0.05, "crash_in_commit": 0.01, "crash_after_commit": 0.05,
}  # fmt: skip
SMALL_PIECES = 1
"""A piece holds one entry, so that a process may die between any two of them."""


def world(partitions: int) -> SimulatedKafka:
    """Ten hours of rows of two rooms, with the labels of both."""
    rng = random.Random(99)
    kafka = SimulatedKafka(ManualClock(START_MS + MINUTES * MINUTE), partitions)
    values = [(place, minute, rng.uniform(15, 35)) for minute in range(MINUTES) for place in ("000000000", "room-1")]
    kafka.append(emit(row(*each), each[0]) for each in values)
    kafka.append(emit(label(place, minute, float(value > 25)), place) for place, minute, value in values)
    return kafka


def learned(seed: int) -> tuple[dict, list[Prediction]]:
    """The last checkpoint (without its batch and number, which crashes change) and all predictions; faults by ``seed`` (0: none)."""
    kafka = world(1)
    run(kafka, USE_CASES, Faults(seed, **FAULTS) if seed else Faults(), cleaner=random.Random(seed))
    predictions = [decode(Prediction, record.value) for record in kafka.topic("stream-prediction")]
    checkpoint = checkpoints(kafka)["fan_speed"]
    for name in ("took", "number", "first", "last"):
        assert checkpoint.pop(name)
    return checkpoint, predictions


def run(kafka: SimulatedKafka, use_cases, faults: Faults, cleaner: random.Random | None = None) -> None:
    """The service from where it stands to the end of the log, through every crash; ``cleaner`` draws how far the log cleaner comes."""
    for process in range(10_000):
        log = SimulatedLog(kafka, "online", faults, process=process)
        try:
            return drive(
                lambda: online.online(use_cases, 100, tuple(range(kafka.partitions)), SMALL_PIECES),
                log_performers(log),
                status=ServiceStatus("online", kafka.clock),
                stopped=lambda log=log: log.idle_reads > 3,
                idle=log.idle,
            )
        except Crash:
            log.close()
            kafka.transactions.mark()
            if cleaner is not None:
                for number in range(kafka.partitions):
                    checkpoint = kafka.log(Partition(CHECKPOINT_TOPIC, number))
                    checkpoint.compact(cleaner.randrange(checkpoint.end + 1))
    return None


def checkpoints(kafka: SimulatedKafka) -> dict[str, dict]:
    """The last head of each use case."""
    return {record.key: msgspec.json.decode(record.value) for record in kafka.topic(CHECKPOINT_TOPIC) if "/" not in record.key}


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
    assert checkpoint["learner"]["learnt"] == 2 * (MINUTES - 10)
    assert (checkpoint["rows"], checkpoint["labels"]) == (20, 0)
    late = [p for p in predictions if p.place_id == "000000000" and p.at_ms > START_MS + 300 * MINUTE]
    assert all(prediction.shadow for prediction in predictions)
    assert len(late) == 300


@pytest.mark.parametrize("seed", range(1, 9))
def test_crashes_change_nothing(undisturbed, seed: int) -> None:
    checkpoint, predictions = learned(seed)
    assert checkpoint == undisturbed[0]
    assert Counter(p.prediction_id for p in predictions) == Counter(p.prediction_id for p in undisturbed[1])
    assert [p.value for p in predictions] == [p.value for p in undisturbed[1]]


@pytest.mark.parametrize("seed", range(1, 7))
def test_what_was_learnt_through_crashes_is_what_a_run_without_them_learns(seed: int) -> None:
    """Over two partitions, whose order in a batch is drawn: a replay, which never restarts, gives every answer to the last bit."""
    kafka = world(2)
    run(kafka, USE_CASES, Faults(seed, **FAULTS))
    told = {(p.feature_id, p.use_case): p for r in kafka.topic("stream-prediction") for p in [decode(Prediction, r.value)]}
    assert len(told) > MINUTES

    def events(kind: type, time: str) -> list[Item]:
        found = [(record, decode(kind, record.value)) for record in kafka.topic(kind.topic_name)]
        return [Item(record, message, getattr(message, time)) for record, message in found]

    def read() -> list[LogRecord]:
        return [LogRecord(record.partition, record.offset, record.value) for record in kafka.topic(CHECKPOINT_TOPIC)]

    everything = learn.Events([*events(Feature, "end_ms"), *events(Label, "label_ms")], USE_CASES)
    wanted = frozenset(name for name, _ in told)
    found = learn.answers(read, everything, USE_CASES, wanted, gone=False, note=lambda _: None)
    assert {key: (p.value, p.probability, p.model_version) for key, p in found.items()} == {
        key: (p.value, p.probability, p.model_version) for key, p in told.items()
    }
