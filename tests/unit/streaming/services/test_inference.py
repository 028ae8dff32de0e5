"""One use case that cannot be scored holds up no other, and goes on by itself once it can be."""

from collections.abc import Callable, Mapping
from math import nan
from typing import Any

import pytest

from learning.answers import MAX_ROWS
from mliot.clock import ManualClock
from mliot.messages import DeadLetter, Feature, Prediction, decode
from mliot.services import ServiceStatus
from mliot.usecase import UseCase
from streaming.runtime.driver import drive, log_performers, model_performers
from streaming.runtime.effects import Champion, Emit, Score
from streaming.services.inference import inference, rows_a_request
from streaming.simulated import SimulatedKafka, SimulatedLog, SimulatedModelServer, as_declared
from usecases import load_use_cases

START, MINUTE = 1_764_000_000_000, 60_000
FAN = load_use_cases()["fan_speed"]
TWO = {"fan_speed": FAN, "warmth": FAN.model_copy(update={"name": "warmth", "columns": ("temperature_avg", "humidity_avg")})}
"""Two use cases over the same rows."""
COLUMNS = {FAN.features: frozenset({*FAN.columns, "fan_current_avg"})}


def feature(minute: int, **values: float) -> Feature:
    start = START + minute * MINUTE
    return Feature(
        feature_id=f"place_1m:room-1@{start}", model=FAN.features, version="f1", grain="place_1m", key="room-1", place_id="room-1",
        start_ms=start, end_ms=start + MINUTE, frames=1, first="", last="", made_ms=start, values={"temperature_avg": 20.0, **values},
    )  # fmt: skip


class Inference:
    """The service on a simulated log and model server; ``requests`` are what it asked to be scored."""

    def __init__(self, use_cases: Mapping[str, UseCase] = TWO, rows: int = 10_000) -> None:
        self.kafka = SimulatedKafka(ManualClock(START), partitions=1)
        self.status = ServiceStatus("inference", self.kafka.clock)
        self.model = SimulatedModelServer(as_declared(use_cases, lambda version, row: float(version[1:])))
        self.requests: list[Score] = []
        self._service = lambda: inference(use_cases, COLUMNS, rows, 1)

    def takes(self, *rows: Feature) -> Mapping[str, Any]:
        """Its status once it has read ``rows``, in the life of one process."""
        self.kafka.append([Emit("stream-feature", "room-1", row.encode()) for row in rows])
        log = SimulatedLog(self.kafka, "inference")
        performers = {**log_performers(log), **model_performers(self.model), Score: self._scored}
        drive(self._service, performers, status=self.status, stopped=lambda: log.idle_reads > 2, idle=log.idle)
        self.status.ok()
        return self.status.snapshot()

    def predicted(self, use_case: str) -> list[Prediction]:
        found = [decode(Prediction, record.value) for record in self.kafka.topic("stream-prediction")]
        return [one for one in found if one.use_case == use_case]

    def letters(self) -> list[DeadLetter]:
        return [decode(DeadLetter, record.value) for record in self.kafka.topic("stream-deadletter")]

    def wants(self, use_case: str, version: str, *columns: str, features: str = FAN.features) -> None:
        self.model.models[use_case] = (Champion(version, features, columns), lambda made, row: float(made[1:]))

    def _scored(self, effect: Score) -> object:
        self.requests.append(effect)
        return self.model.score(effect)


def test_a_champion_is_asked_with_what_it_wants_whatever_the_file_declares_now() -> None:
    service = Inference()
    service.wants("fan_speed", "v7", "temperature_avg", "fan_current_avg")
    told = service.takes(feature(0, fan_current_avg=300.0))
    assert [row for request in service.requests if request.use_case == "fan_speed" for row in request.rows] == [
        {"temperature_avg": 20.0, "fan_current_avg": 300.0}
    ]
    assert [one.model_version for one in service.predicted("fan_speed")] == ["v7"]
    assert len(service.predicted("warmth")) == 1
    assert (told["state"], told["withheld"]) == ("ok", {})


def test_a_champion_that_took_over_meanwhile_is_asked_with_what_this_one_wants() -> None:
    service = Inference()
    score = service.model.score

    def moves_first(effect: Score) -> object:
        if len(service.requests) == 1:
            service.wants("fan_speed", "v2", "humidity_avg")
        return score(effect)

    service.model.score = moves_first  # type: ignore[method-assign, assignment]
    service.takes(feature(0), feature(1))
    assert [one.model_version for one in service.predicted("fan_speed")] == ["v2", "v2"]


def broken(service: Inference) -> None:
    service.model.fails = {"fan_speed": lambda _: True}


def unfit(service: Inference) -> None:
    service.wants("fan_speed", "v2", "temperature_avg", "co2_of_old_avg")


def of_another_model(service: Inference) -> None:
    service.wants("fan_speed", "v2", "temperature_avg", features="features_sensor_1m")


def unknown(service: Inference) -> None:
    del service.model.models["fan_speed"]


@pytest.mark.parametrize(
    ("befall", "reason"),
    [
        (broken, "the model v1 of fan_speed fails"),
        (unfit, "its champion v2 wants co2_of_old_avg, which features_place_1m has no longer; retrain it"),
        (of_another_model, "its champion v2 learnt from features_sensor_1m, its file says features_place_1m now; retrain it"),
        (unknown, "the model server does not know it: start that again, so that it reads its file"),
    ],
)
def test_what_cannot_be_scored_passes_by_with_its_reason_until_it_can_be(befall: Callable[[Inference], None], reason: str) -> None:
    service = Inference()
    befall(service)
    told = service.takes(feature(0), feature(1))
    assert (told["state"], told["withheld"]) == ("waiting", {"fan_speed": reason})
    assert told["waits_for"] == f"fan_speed: {reason}"
    assert (told["counts"]["withheld_fan_speed"], told["counts"]["predicted_warmth"], told["counts"]["read"]) == (2, 2, 2)
    assert service.predicted("fan_speed") == service.letters() == []

    service.model.fails = {}
    service.wants("fan_speed", "v3", "temperature_avg")
    told = service.takes(feature(2))
    assert (told["state"], told["withheld"]) == ("ok", {})
    assert [one.feature_id for one in service.predicted("fan_speed")] == [feature(2).feature_id]
    assert told["counts"]["withheld_fan_speed"] == 2
    assert len(service.predicted("warmth")) == 3


def test_a_use_case_without_a_champion_is_no_fault() -> None:
    service = Inference()
    unknown(service)
    service.model.known = ("fan_speed",)
    told = service.takes(feature(0))
    assert (told["state"], told["withheld"], told["counts"]["no_champion_fan_speed"]) == ("ok", {}, 1)


def test_who_is_in_charge_is_asked_once_a_batch_however_many_have_nobody() -> None:
    service = Inference({**TWO, "third": FAN.model_copy(update={"name": "third"})})
    service.model.models.clear()
    asked = []
    champions = service.model.champions
    service.model.champions = lambda effect: asked.append(effect) or champions(effect)  # type: ignore[method-assign, func-returns-value]
    service.takes(feature(0))
    assert len(asked) == 1


def test_more_rows_than_a_request_may_hold_go_in_several() -> None:
    service = Inference({"fan_speed": FAN}, rows=100_000)
    rows = MAX_ROWS + 5
    service.takes(*(feature(minute) for minute in range(rows)))
    assert [len(request.rows) for request in service.requests] == [MAX_ROWS, 5]
    assert [one.at_ms for one in service.predicted("fan_speed")] == [START + (minute + 1) * MINUTE for minute in range(rows)]


def test_wide_rows_go_in_smaller_requests() -> None:
    wide = Champion("v1", FAN.features, tuple(f"measurement_of_a_long_name_{n}_avg" for n in range(400)))
    assert 1 <= rows_a_request(wide) < MAX_ROWS
    assert rows_a_request(Champion("v1", FAN.features, FAN.columns)) == MAX_ROWS


def test_a_row_without_a_finite_answer_is_kept_as_a_dead_letter_once_and_the_others_are_predicted() -> None:
    service = Inference()
    for use_case in TWO:
        champion, _ = service.model.models[use_case]
        service.model.models[use_case] = (champion, lambda _, row: nan if row["temperature_avg"] == 0 else 1.0)
    told = service.takes(feature(0), feature(1, temperature_avg=0.0), feature(2))
    assert (told["withheld"], told["counts"]["rejected"]) == ({}, 1)
    (letter,) = service.letters()
    assert letter.reason == "fan_speed: the score of v1 is not finite"
    for use_case in TWO:
        assert [one.at_ms for one in service.predicted(use_case)] == [feature(0).end_ms, feature(2).end_ms]
