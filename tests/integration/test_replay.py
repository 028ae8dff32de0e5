"""``mliot replay`` on a real Kafka and PostgreSQL that hold what the services' own code decided over some hours of frames."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from confluent_kafka import Producer
from typer.testing import CliRunner

from learning.store import ModelStore
from mliot.cli import build
from mliot.clock import SystemClock
from mliot.errors import MliotError, UserError
from mliot.featuremodels import FeatureModels
from mliot.messages import MESSAGES, Command, Feature, Frame, Prediction, decode
from mliot.settings import Settings
from stack.environment import environment
from stack.standalone import StandaloneServer
from streaming.runtime.effects import Record, Save
from streaming.services.store import decide
from streaming.sinks.postgres import PostgresStore
from tests.simulation.test_decide_again import World
from usecases import load_use_cases

pytestmark = pytest.mark.stack
WAIT_S = 30
HOURS = 2


@pytest.fixture(scope="module")
def settings(free_ports: Callable[[int], list[int]]) -> Iterator[Settings]:
    """The settings of a Kafka and a PostgreSQL of this module's own, in a folder that other accounts may pass through."""
    names = ("kafka_port", "kafka_controller_port", "postgres_port")
    with tempfile.TemporaryDirectory(prefix="mliot-test-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        made = Settings(_env_file=None, home=home, partitions=2, **dict(zip(names, free_ports(len(names)), strict=True)))
        with StandaloneServer(made, "kafka"), StandaloneServer(made, "postgres"):
            yield made


@pytest.fixture(scope="module")
def world(settings: Settings, models: FeatureModels, save_constant_model) -> World:
    store = ModelStore(settings.models_path)
    versions = {
        name: save_constant_model(store, use_case, 2.0 if use_case.classes else 30.0) for name, use_case in load_use_cases().items()
    }
    made = World(models, store, versions, HOURS)
    made.run()
    to_kafka(settings, made)
    to_store(settings, made)
    return made


def to_kafka(settings: Settings, world: World) -> None:
    """Every record under the offset that it has in the simulated log: where a transaction's mark stood, stands a record of nobody."""
    producer = Producer({"bootstrap.servers": settings.kafka_address})
    at: dict[tuple[str, int], int] = {}
    for topic in sorted({partition.topic for partition in world.kafka.logs}):
        for record in world.kafka.topic(topic):
            place = (topic, record.partition)
            for value in (*[b"mark"] * (record.offset - at.get(place, 0)), record.value):
                producer.produce(topic, value, record.key, record.partition)
            at[place] = record.offset + 1
            producer.poll(0)
    assert producer.flush(WAIT_S) == 0


def to_store(settings: Settings, world: World) -> None:
    records: list[Record] = [record for kind in MESSAGES for record in world.kafka.topic(kind.topic_name)]
    with PostgresStore(settings.postgres_address) as store:
        store.save(Save(decide(records, SystemClock().now_ms())[0], len(records), {}, {}))


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(build(), ["replay", *arguments], env=environment(settings) | {"COLUMNS": "200"})


def run_json(settings: Settings, *arguments: str, exit_code: int = 0) -> Any:
    result = run(settings, *arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def of_kind(world: World, kind: type) -> list:
    return [decode(kind, record.value) for record in world.kafka.topic(kind.topic_name)]


def test_a_sample_and_everything_is_equal_to_the_bit(settings: Settings, world: World) -> None:
    count = len(of_kind(world, Prediction))
    report = run_json(settings, "--sample", "1000000")
    assert report["decisions"] == report["there_are"] == report["equal_to_the_bit"] == count
    assert report["differ"] == 0
    shown = run(settings, "--sample", "20")
    assert "20 decisions, 0 differ; 20 equal to the last bit" in shown.output
    shown = run(settings, "--sample", str(count + 5))
    assert f"there are {count} predictions, fewer than the {count + 5} asked for" in shown.output


@pytest.mark.parametrize("kind", ["prediction", "shadow", "command", "withheld", "window", "frame"])
def test_every_kind_of_id_is_decided_again(settings: Settings, world: World, kind: str) -> None:
    predictions = of_kind(world, Prediction)
    command, withheld = ([one for one in of_kind(world, Command) if one.state == state][-1] for state in ("queued", "withheld"))
    asked, parts = {
        "prediction": ([p for p in predictions if not p.shadow][-1].id, ("window", "feature row", "prediction")),
        "shadow": ([p for p in predictions if p.shadow][-1].id, ("window", "feature row", "prediction")),
        "command": (command.command_id, ("window", "feature row", "prediction", "command")),
        "withheld": (withheld.command_id, ("window", "feature row", "prediction", "command")),
        "window": ([f for f in of_kind(world, Feature) if f.grain == "sensor_1m"][-1].id, ("window", "feature row")),
        "frame": (
            [f for f in of_kind(world, Frame) if f.place_id == "000000000"][30].id,
            ("window", "feature row", "prediction", "command"),
        ),
    }[kind]
    shown = run(settings, asked)
    assert shown.exit_code == 0, shown.output
    assert "0 differ" in shown.output
    report = run_json(settings, asked)
    assert report["decisions"] == report["equal_to_the_bit"]
    assert report["decisions"] == 1 or kind == "frame"
    assert {value["part"] for one in report["values_of"] for value in one["values"]} == set(parts)


def test_a_row_of_the_store_that_was_changed_is_named(settings: Settings, world: World) -> None:
    spoilt = [p for p in of_kind(world, Prediction) if not p.shadow][-1]
    with psycopg.connect(settings.postgres_address, autocommit=True) as store:
        store.execute("update mliot.prediction set value = value + 1 where id = %s", [spoilt.id])
        try:
            one = run(settings, spoilt.id)
            report = run_json(settings, "--sample", "1000000", exit_code=1)
        finally:
            store.execute("update mliot.prediction set value = value - 1 where id = %s", [spoilt.id])
    assert one.exit_code == 1
    assert "1 decision, 1 differ" in one.output
    ((named, values),) = [(each["id"], each["values"]) for each in report["values_of"] if each["values"]]
    assert named == spoilt.id
    assert [(v["part"], v["name"], v["verdict"]) for v in values] == [("prediction in the store", "value", "differs")]


def test_a_model_that_is_gone_is_one_line(settings: Settings, world: World, tmp_path: Path) -> None:
    spoilt = [p for p in of_kind(world, Prediction) if not p.shadow][-1]
    folder = settings.models_path / "models" / spoilt.use_case / spoilt.model_version
    folder.rename(tmp_path / "gone")
    try:
        result = run(settings, spoilt.id)
    finally:
        (tmp_path / "gone").rename(folder)
    assert isinstance(result.exception, MliotError)
    assert str(result.exception).startswith(f"{spoilt.id}: cannot be replayed: its model is gone: ")
    assert "\n" not in str(result.exception)
    assert result.stdout == ""


def test_what_is_unknown_or_unclear_is_one_line(settings: Settings, world: World) -> None:
    for arguments in ((), ("x", "--sample", "3"), ("nobody@1#00000000",)):
        result = run(settings, *arguments)
        assert isinstance(result.exception, UserError), result.output
