"""The ingest from a real Kafka: transactions, their markers, bytes that are no text, kills and a topic made anew."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.settings import Settings
from stack.standalone import StandaloneServer
from warehouse.ingest import ingest
from warehouse.records import KafkaRecords

pytestmark = pytest.mark.stack
PARTITIONS = 2
Loaded = dict[tuple[int, int], tuple[str | None, str | None, str | None]]


class Written:
    """A topic of its own, written by transactions; ``committed`` is what a reader of committed records may see."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.topic = f"ingest-{uuid4().hex[:8]}"
        self.committed: Loaded = {}
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "transactional.id": self.topic, "retry.backoff.ms": 1, "retry.backoff.max.ms": 20}
        )
        self._producer.init_transactions(30)
        self.create()

    def create(self) -> None:
        deadline = Deadline.after(SystemClock(), 30)
        while True:  # a topic just deleted may take a moment to be gone
            try:
                self._admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(30)
                return
            except KafkaException:
                if deadline.passed():
                    raise
                time.sleep(0.1)

    def delete(self) -> None:
        self._admin.delete_topics([self.topic])[self.topic].result(30)
        deadline = Deadline.after(SystemClock(), 30)
        while KafkaRecords(self.bootstrap).topic(self.topic) is not None:
            assert not deadline.passed(), "the topic does not go"
            time.sleep(0.1)
        self.committed = {}

    def transaction(self, values: list[bytes], *, commit: bool = True) -> None:
        delivered: Loaded = {}

        def keep(_: object, message: object) -> None:
            value = message.value()  # type: ignore[attr-defined]
            text = value.decode() if value[:1] != b"\xff" else "data:;base64,/w=="
            delivered[(message.partition(), message.offset())] = ("place", text, "00-trace")  # type: ignore[attr-defined]

        self._producer.begin_transaction()
        for value in values:
            self._producer.produce(
                self.topic, value, b"place", partition=len(value) % PARTITIONS, headers=[("traceparent", b"00-trace")], on_delivery=keep
            )
        self._producer.flush(30)
        if commit:
            self._producer.commit_transaction(30)
            self.committed |= delivered
        else:
            self._producer.abort_transaction(30)

    def open_transaction(self, values: list[bytes]) -> Callable[[], None]:
        """Begins one; what is returned ends it by an abort."""
        self._producer.begin_transaction()
        for value in values:
            self._producer.produce(self.topic, value, partition=len(value) % PARTITIONS)
        self._producer.flush(30)
        return lambda: self._producer.abort_transaction(30)


@pytest.fixture
def written(kafka_server: StandaloneServer) -> Written:
    return Written(kafka_server.settings.kafka_address)


@pytest.fixture
def settings(tmp_path: Path, kafka_server: StandaloneServer) -> Settings:
    return Settings(home=tmp_path, kafka_bootstrap=kafka_server.settings.kafka_address, _env_file=None)


def values(count: int, word: str = "v") -> list[bytes]:
    return [f'{{"{word}":{index}}}'.encode() for index in range(count)]


def loaded(settings: Settings, topic: str) -> Loaded:
    with duckdb.connect(settings.warehouse_path) as con:
        query = "select kafka_partition, kafka_offset, key, value, traceparent from raw.frame where kafka_topic = ?"
        rows = con.execute(query, [topic]).fetchall()
    found = {(partition, offset): (key, value, trace) for partition, offset, key, value, trace in rows}
    assert len(found) == len(rows), "a record is there twice"
    return found


def test_committed_records_and_only_those_are_loaded_once(settings: Settings, written: Written) -> None:
    topics = {written.topic: "frame"}
    assert ingest(settings, topics).lag == 0
    for _ in range(5):
        written.transaction(values(40))
        written.transaction(values(13, "aborted"), commit=False)
    report = ingest(settings, topics)
    assert (report.read, report.lag) == (200, 0)
    assert loaded(settings, written.topic) == written.committed
    assert ingest(settings, topics).read == 0, "positions stand behind the markers of the last transactions"
    written.transaction([b"\xff", *values(9)])
    assert ingest(settings, topics).read == 10
    assert loaded(settings, written.topic) == written.committed


def test_what_an_open_transaction_holds_back_is_neither_read_nor_waited_for(settings: Settings, written: Written) -> None:
    topics = {written.topic: "frame"}
    written.transaction(values(20))
    end = written.open_transaction(values(30, "open"))
    assert ingest(settings, topics).read == 20
    end()
    written.transaction(values(5))
    assert ingest(settings, topics).read == 5
    assert loaded(settings, written.topic) == written.committed


def test_a_topic_deleted_and_made_anew_is_read_from_its_start(settings: Settings, written: Written) -> None:
    topics = {written.topic: "frame"}
    written.transaction(values(20))
    before = dict(written.committed)
    ingest(settings, topics)
    written.delete()
    assert ingest(settings, topics).topics == ()
    written.create()
    written.transaction(values(50, "again"))
    report = ingest(settings, topics).topics[0]
    assert (report.read, report.set_aside) == (50, 20)
    assert loaded(settings, written.topic) == written.committed
    with duckdb.connect(settings.warehouse_path) as con:
        ((kept,),) = con.execute("select count(*) from raw.frame where kafka_topic like ? || '@until-%'", [written.topic]).fetchall()
    assert kept == len(before)


def test_killed_between_data_and_state_a_rerun_is_exact(settings: Settings, written: Written) -> None:
    written.transaction(values(500))
    command = [sys.executable, __file__, str(settings.home), settings.kafka_bootstrap, written.topic]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=os.environ)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert loaded(settings, written.topic) == written.committed, "the data had been committed"
    written.transaction(values(50))
    ingest(settings, {written.topic: "frame"})
    assert loaded(settings, written.topic) == written.committed


def test_kafka_away_is_said_in_time(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> None:
    records = KafkaRecords(f"127.0.0.1:{free_ports(1)[0]}", patience_s=1)
    with pytest.raises(Transient, match=r"Kafka at 127\.0\.0\.1:\d+: stream-frame"):
        ingest(Settings(home=tmp_path, _env_file=None), {"stream-frame": "frame"}, records=records)


def _killed_after_commit(home: Path, bootstrap: str, topic: str) -> None:
    from dlt.load.load import Load

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Load.complete_package = die
    ingest(Settings(home=home, kafka_bootstrap=bootstrap, _env_file=None), {topic: "frame"})


if __name__ == "__main__":
    _killed_after_commit(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
