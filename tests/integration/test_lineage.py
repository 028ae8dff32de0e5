"""Trace, audit and dead letters against a real Kafka, PostgreSQL, MQTT broker and DuckDB file, through the command line."""

import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import psycopg
import pytest
from click.testing import Result
from confluent_kafka import Consumer, Producer
from psycopg import sql
from pydantic import SecretStr
from typer.testing import CliRunner

from mliot.cli import build
from mliot.clock import Deadline, SystemClock
from mliot.errors import UserError
from mliot.featuremodels import RAW_COLUMNS
from mliot.journal import Journal
from mliot.messages import Ack, Command, DeadLetter, Feature, Frame, Label, Message, Prediction, Window
from mliot.mqtt import MqttClient, Received
from mliot.settings import Settings
from stack.environment import environment
from stack.postgres import SCHEMA, SUPERUSER
from stack.standalone import StandaloneServer
from streaming.runtime.effects import Partition, Record, Save
from streaming.services.store import decide
from streaming.sinks.postgres import PostgresStore
from warehouse.access import publish_copy

pytestmark = pytest.mark.stack
WORLD = Path(__file__).parents[1] / "unit" / "lineage" / "conftest.py"
WAIT_S = 30
CLOCK = SystemClock()
BAD_FRAME = b'{"id":"\x1b[2J","payload":{"temperature":900}}'


@pytest.fixture(scope="module")
def own_database(postgres_server: StandaloneServer) -> Iterator[str]:
    """The address of a database of this module's own, with the store's tables."""
    settings = postgres_server.settings
    password = settings.postgres_password_path.read_text().strip()
    server = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{settings.postgres_port}"
    name = f"lineage_{uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        with psycopg.connect(f"{server}/{name}") as own:
            own.execute(SCHEMA.read_bytes())
        yield f"{server}/{name}"
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def settings(own_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a Kafka of this module's own: the audit reads all that its topics hold."""
    ports = dict(zip(("kafka_port", "kafka_controller_port"), _free_ports(2), strict=True))
    made = Settings(_env_file=None, home=tmp_path_factory.mktemp("lineage"), partitions=2, postgres_dsn=SecretStr(own_database), **ports)
    with StandaloneServer(made, "kafka"):
        yield made


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(build(), list(arguments), env=environment(settings) | {"COLUMNS": "200"})


def run_json(settings: Settings, *arguments: str, exit_code: int = 0) -> Any:
    result = run(settings, *arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def run_process(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mliot.cli", *arguments]
    return subprocess.run(command, env=os.environ | environment(settings), capture_output=True, text=True, check=False, timeout=WAIT_S)


@pytest.fixture(scope="module")
def world() -> Any:
    """The sound world of the unit tests."""
    return runpy.run_path(str(WORLD))["sound_world"]()


class Written:
    """Writes a world where the services would, with the services' own writers; keeps the records as Kafka placed them."""

    def __init__(self, settings: Settings, world: Any) -> None:
        self.settings = settings
        self.records: dict[type[Message], list[Record]] = defaultdict(list)
        self._to_kafka(world)
        self._to_store()
        self._to_warehouse()
        with Journal(settings.journal_path, "fleet") as journal:
            for entry in world.journal:
                journal.write(entry)

    def _to_kafka(self, world: Any) -> None:
        """Windows and what follows in transactions, one aborted, so that Kafka holds marks and records that nobody may see."""
        bootstrap = self.settings.kafka_address
        producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"world-{uuid4().hex}"})
        producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        producer.produce(Window.topic_name, world.log[Window][0][1].encode(), "aborted", 0)
        producer.flush(WAIT_S)
        producer.abort_transaction(WAIT_S)
        for kind, entries in world.log.items():
            producer.begin_transaction()
            for partition, message in entries:
                producer.produce(kind.topic_name, message.encode(), "room", partition, on_delivery=self._note(kind))
            producer.commit_transaction(WAIT_S)

    def _note(self, kind: type[Message]) -> Any:
        def note(error: Any, sent: Any) -> None:
            assert error is None, error
            self.records[kind].append(Record(sent.topic(), sent.partition(), sent.offset(), sent.timestamp()[1], "room", sent.value(), ""))

        return note

    def _to_store(self) -> None:
        with PostgresStore(self.settings.postgres_address) as store:
            for records in self.records.values():
                partitions = {Partition(r.topic, r.partition) for r in records}
                before = dict.fromkeys(partitions, 0)
                store.save(Save(decide(records, CLOCK.now_ms())[0], len(records), before, dict.fromkeys(partitions, 1)))

    def _to_warehouse(self) -> None:
        with duckdb.connect(str(self.settings.warehouse_path)) as warehouse:
            warehouse.execute("create schema raw")
            for kind, records in self.records.items():
                table = f'raw."{kind.topic_name.removeprefix("stream-")}"'
                warehouse.execute(f"create table {table} ({', '.join(f'{name} {type}' for name, type in RAW_COLUMNS.items())})")
                rows = [(r.topic, r.partition, r.offset, r.timestamp_ms, r.key, r.value.decode(), None) for r in records]
                warehouse.executemany(f"insert into {table} values (?, ?, ?, ?, ?, ?, ?)", rows)
        publish_copy(self.settings)

    @contextmanager
    def without(self, kind: type[Message], id: str) -> Iterator[None]:
        """The store lacks one row while the block runs."""
        with psycopg.connect(self.settings.postgres_address) as store:
            table = sql.Identifier("mliot", kind.topic_name.removeprefix("stream-"))
            assert store.execute(sql.SQL("delete from {} where id = %s").format(table), [id]).rowcount == 1
        try:
            yield
        finally:
            self.restore(kind)

    def restore(self, kind: type[Message]) -> None:
        with PostgresStore(self.settings.postgres_address, f"restore-{uuid4().hex}") as store:
            store.save(Save(decide(self.records[kind], CLOCK.now_ms())[0], len(self.records[kind]), {}, {}))


@pytest.fixture(scope="module")
def written(settings: Settings, world: Any) -> Written:
    return Written(settings, world)


def offenders(report: Mapping[str, Any]) -> dict[str, Any]:
    return {f["what"]: (f["missing"], f["twice"], f["foreign"]) for f in report["findings"] if f["missing"] or f["twice"] or f["foreign"]}


def test_the_audit_of_a_sound_world_is_clean_and_names_what_is_spoilt(written: Written, world: Any) -> None:
    settings = written.settings
    report = run_json(settings, "audit", "--settle", "0", "--strict")
    assert (offenders(report), report["doubts"], report["notes"]) == ({}, [], [])
    seen = {finding["what"]: finding["seen"] for finding in report["findings"]}
    assert {"frames": 27, "store frame": 27, "warehouse feature": 44}.items() <= seen.items()
    frame, command = world.log[Frame][4][1], world.log[Command][1][1]
    with written.without(Frame, frame.id), written.without(Command, command.id):
        report = run_json(settings, "audit", "--settle", "0", exit_code=1)
        assert offenders(report) == {"store frame": ([frame.id], [], []), "store command": ([command.id], [], [])}
        shown = run(settings, "audit", "--settle", "0")
    assert shown.exit_code == 1
    assert f"store frame, missing: {frame.id}" in shown.output
    assert shown.output.rstrip().endswith("not clean")


def test_the_audit_names_a_row_of_a_record_that_kafka_never_had(written: Written, world: Any) -> None:
    label = world.log[Label][0][1]
    with psycopg.connect(written.settings.postgres_address, autocommit=True) as store:
        store.execute(
            "insert into mliot.label select 'invented', use_case, feature_id, key, place_id, label_ms, available_ms, value,"
            " 'stream-label-0-1000', traceparent, stored_ms from mliot.label where id = %s",
            [label.id],
        )
        try:
            report = run_json(written.settings, "audit", "--settle", "0", exit_code=1)
        finally:
            store.execute("delete from mliot.label where id = 'invented'")
    assert offenders(report) == {"store label": ([], [], ["invented"])}


def test_the_audit_waits_until_what_is_under_way_has_arrived(written: Written, world: Any) -> None:
    with written.without(Frame, world.log[Frame][0][1].frame_id):
        assert run(written.settings, "audit", "--settle", "0").exit_code == 1
        arrival = threading.Timer(1.0, written.restore, (Frame,))
        arrival.start()
        assert run(written.settings, "audit", "--settle", "0.1", "--wait", str(WAIT_S)).exit_code == 0
        arrival.join()


def test_the_warehouse_is_compared_also_while_another_process_writes_it_and_a_missing_one_is_a_doubt(written: Written) -> None:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(written.settings.warehouse_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        try:
            report = run_json(written.settings, "audit", "--settle", "0", "--strict")
        finally:
            writer.communicate("")
    assert any(finding["what"] == "warehouse frame" for finding in report["findings"])
    aside = written.settings.readers_copy_path.rename(written.settings.home / "aside")
    try:
        report = run_json(written.settings, "audit", "--settle", "0")
    finally:
        aside.rename(written.settings.readers_copy_path)
    assert [doubt.partition(": ")[2] for doubt in report["doubts"]] == [
        "there is no warehouse to read yet; the first ingest makes it: it is not compared"
    ]
    assert not any(finding["what"].startswith("warehouse") for finding in report["findings"])


@pytest.mark.parametrize("kind", [Frame, Feature, Prediction, Command])
def test_trace_shows_the_chain_of_every_kind_of_id(written: Written, world: Any, kind: type[Message]) -> None:
    minute = next(m for _, m in world.log[Feature] if m.grain == "place_1m")
    ack = world.log[Ack][0][1]
    command = next(m for _, m in world.log[Command] if m.command_id == ack.command_id)
    asked = {Frame: world.log[Frame][0][1].frame_id, Feature: minute.feature_id, Prediction: command.prediction_id,
             Command: command.command_id}[kind]  # fmt: skip
    chain = run_json(written.settings, "trace", asked)["chain"]
    nodes = list(_walk(chain))
    assert [node["id"] for node in nodes if node["subject"]] == [asked]
    for needed in ("feature", "prediction", "command", "state", "ack"):
        assert needed in {node["kind"] for node in nodes}, needed
    assert chain["kind"] == ("frame" if kind is Frame else "frames")
    if kind is not Frame:
        assert chain["fields"]["count"] == 6
        assert len(chain["fields"]["frames"]) == 5
    text = run(written.settings, "trace", asked)
    assert text.exit_code == 0
    assert "room-1-fan: fan_speed 2" in text.output


def test_the_last_frame_of_a_device(written: Written, world: Any) -> None:
    newest = max((m for _, m in world.log[Frame] if m.device == "room-2-a"), key=lambda m: m.event_ms)
    assert run_json(written.settings, "trace", "--device", "room-2-a", "--last")["chain"]["id"] == newest.frame_id


@pytest.mark.parametrize(
    "arguments", [("trace", "nobody@1#00000000"), ("trace", "--device", "nobody", "--last"), ("deadletter", "show", "zz")], ids=" ".join
)
def test_what_is_unknown_is_one_line(written: Written, arguments: tuple[str, ...]) -> None:
    result = run_process(written.settings, *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "nobody" in result.stderr or "zz" in result.stderr


def test_a_question_that_is_not_clear_is_one_line(written: Written) -> None:
    for arguments in (("trace",), ("trace", "x", "--last"), ("deadletter", "replay"), ("deadletter", "replay", "x", "--all")):
        result = run(written.settings, *arguments)
        assert isinstance(result.exception, UserError), result.output


def test_servers_that_are_down_are_one_line_without_the_password(settings: Settings) -> None:
    (port,) = _free_ports(1)
    dsn = SecretStr(f"postgresql://me:geheim@127.0.0.1:{port}/mliot")
    result = run_process(settings.model_copy(update={"postgres_dsn": dsn}), "trace", "x")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"mliot: store: PostgreSQL at 127.0.0.1:{port}/mliot does not answer: Connection refused\n"
    result = run_process(settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{port}"}), "audit")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"mliot: Kafka at 127.0.0.1:{port} does not answer: ")


@pytest.fixture
def desk(own_database: str, kafka_server: StandaloneServer, mqtt_server: StandaloneServer, tmp_path: Path) -> Settings:
    """The settings of servers that hold what they may: where letters are replayed to, nothing is audited."""
    theirs = kafka_server.settings
    changes = {"home": tmp_path, "postgres_dsn": SecretStr(own_database), "mqtt_url": mqtt_server.settings.mqtt_address}
    return theirs.model_copy(update=changes)


@pytest.fixture
def letters(desk: Settings) -> Iterator[dict[str, DeadLetter]]:
    """One letter that came over MQTT and one that came from Kafka."""
    made = {
        "mqtt": DeadLetter.of(BAD_FRAME, source="iot-frames-sensor", service="bridge", reason="temperature 900 is too much", at_ms=10),
        "kafka": DeadLetter.of(b"\xff\xfe", source="stream-feature", service="inference", reason="not a row", at_ms=20, key="room-1"),
    }
    ids = [letter.dead_id for letter in made.values()]
    records = [Record("stream-deadletter", 1, 1000 + n, 0, "", letter.encode(), "") for n, letter in enumerate(made.values())]
    with PostgresStore(desk.postgres_address, f"letters-{uuid4().hex}") as store:
        store.save(Save(decide(records, 0)[0], len(records), {}, {}))
    yield made
    with psycopg.connect(desk.postgres_address) as connection:
        connection.execute("delete from mliot.deadletter where id = any(%s)", [ids])
        connection.execute("delete from mliot.replayed where dead_id = any(%s)", [ids])


def test_dead_letters_are_listed_and_shown_so_that_no_terminal_obeys_them(desk: Settings, letters: Mapping[str, DeadLetter]) -> None:
    listed = run(desk, "deadletter", "list")
    assert listed.exit_code == 0
    assert "\x1b" not in listed.output
    assert "temperature 900" in listed.output
    assert [letter["dead_id"] for letter in run_json(desk, "deadletter", "list", "--service", "inference")] == [letters["kafka"].dead_id]
    assert [letter["dead_id"] for letter in run_json(desk, "deadletter", "list", "--reason", "900 is")] == [letters["mqtt"].dead_id]
    assert len(run_json(desk, "deadletter", "list", "--limit", "1")) == 1
    shown = run(desk, "deadletter", "show", letters["mqtt"].dead_id[:8])
    assert r'{"id":"\x1b[2J"' in shown.output
    assert "\x1b" not in shown.output
    assert "00000000  ff fe" in run(desk, "deadletter", "show", letters["kafka"].dead_id).output
    assert run_json(desk, "trace", letters["kafka"].dead_id[:10])["chain"]["fields"]["reason"] == "not a row"


def test_replay_publishes_the_original_bytes_again_to_where_they_came_from(desk: Settings, letters: Mapping[str, DeadLetter]) -> None:
    received: list[Received] = []
    arrived = threading.Event()

    def note(message: Received) -> None:
        received.append(message)
        arrived.set()

    def replayed() -> dict[str, int | None]:
        listed = run_json(desk, "deadletter", "list")
        return {letter["dead_id"]: letter["replayed_ms"] for letter in listed if letter["dead_id"] in ids}

    ids = {letter.dead_id for letter in letters.values()}
    listener = MqttClient(desk.mqtt_address, f"test-{uuid4().hex[:8]}", on_message=note)
    listener.start(["iot-frames-sensor"])
    try:
        listener.wait_ready(WAIT_S)
        assert run(desk, "deadletter", "replay", "--all", "--reason", "900").exit_code == 1, "it asks, and nobody answers"
        assert replayed() == dict.fromkeys(ids)
        done = run(desk, "deadletter", "replay", letters["mqtt"].dead_id, letters["kafka"].dead_id[:12], "--yes")
        assert done.exit_code == 0, done.output
        assert "2 published again" in done.output
        assert arrived.wait(WAIT_S)
    finally:
        listener.stop(Deadline.after(CLOCK, WAIT_S))
    assert [(message.topic, message.payload) for message in received] == [("iot-frames-sensor", BAD_FRAME)]
    assert _first_key(desk, "stream-feature", b"\xff\xfe") == b"room-1"
    assert all(replayed().values())
    again = run(desk, "deadletter", "replay", "--all", "--service", "inference", "--yes")
    assert again.output.strip() == "no dead letters to replay"


def _first_key(settings: Settings, topic: str, value: bytes) -> bytes | None:
    """The key of the first record of ``topic`` that is ``value``."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_address, "group.id": f"test-{uuid4().hex}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    deadline = Deadline.after(CLOCK, WAIT_S)
    try:
        while not deadline.passed():
            for message in consumer.consume(500, 0.5):
                if message.error() is None and message.value() == value:
                    return message.key()
    finally:
        consumer.close()
    raise AssertionError(f"{value!r} did not come to {topic}")


def _walk(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node["children"]:
        yield from _walk(child)
