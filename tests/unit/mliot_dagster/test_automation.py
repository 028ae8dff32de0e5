"""The sensors' decisions as Dagster gets to see them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from learning.store import ModelStore
from mliot.errors import Transient
from mliot_dagster.automation import REFRESH, sensors
from usecases import load_use_cases
from warehouse.records import Batch, Span, Topic


class Counted:
    """Topics that hold so many records each; None: Kafka is away."""

    def __init__(self, held: int | None) -> None:
        self.held = held

    def topic(self, name: str) -> Topic | None:
        if self.held is None:
            raise Transient("Kafka at nowhere: does not answer")
        return Topic(name, "id", {0: Span(0, self.held)}) if name != "stream-label" else None

    def read(self, name: str, starts: Mapping[int, int]) -> Iterator[Batch]:
        raise AssertionError("the sensor only looks")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def look(instance: dg.DagsterInstance, home: Path, held: int | None, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    sensor = next(each for each in sensors(list(load_use_cases().values())) if each.name == "new_data")
    resources = {"store": ModelStore(home / "models"), "records": Counted(held)}
    return sensor(dg.build_sensor_context(instance, cursor=cursor, resources=resources))


def test_the_first_refresh_starts_once_the_history_is_in_and_not_again(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    cursor, asked = None, []
    for held in (5_000, 20_000, 20_010, 20_020):
        result = look(instance, tmp_path, held, cursor)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
        asked.append([request.run_key for request in result.run_requests or []])
    assert asked == [[], [], ["refresh@40020"], []]


def test_nothing_starts_while_a_refresh_is_under_way(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    instance.add_run(dg.DagsterRun(job_name=REFRESH, status=dg.DagsterRunStatus.STARTED))
    result = look(instance, tmp_path, 1_000_000)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "a refresh is under way"


def test_without_kafka_the_tick_says_so(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    result = look(instance, tmp_path, None)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "Kafka at nowhere: does not answer"
