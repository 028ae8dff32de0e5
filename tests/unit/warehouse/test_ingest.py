"""The ingest against a Kafka in memory: each record once, whatever was killed, recreated or expired."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import warehouse.ingest as ingest_module
from mliot.clock import ManualClock
from mliot.errors import Fatal, Transient
from mliot.settings import Settings
from warehouse.access import locked, warehouse_lock
from warehouse.ingest import ingest
from warehouse.raw import RAW, STAGING
from warehouse.records import NOT_TEXT, Batch, Columns, Span, Topic, _positions, as_text, as_texts

TOPIC = "stream-frame"
TOPICS = {TOPIC: "frame", "stream-label": "label"}


@dataclass
class MemoryRecords:
    """Topics in memory; every tenth offset is a transaction marker, which takes an offset and is no record."""

    logs: dict[str, dict[int, list[str | None]]] = field(default_factory=dict)
    lows: dict[int, int] = field(default_factory=dict)
    topic_id: str = "first"
    forget: int | None = None
    fail_after: int | None = None

    def append(self, count: int, *, topic: str = TOPIC, partitions: int = 2, word: str = "v") -> None:
        log = self.logs.setdefault(topic, {partition: [] for partition in range(partitions)})
        for index in range(count):
            partition = log[index % partitions]
            partition.append(f'{{"{word}":{len(partition)}}}')
            if len(partition) % 10 == 9:
                partition.append(None)

    def held(self, topic: str = TOPIC) -> dict[tuple[int, int], str]:
        return {
            (partition, offset): value
            for partition, log in self.logs.get(topic, {}).items()
            for offset, value in enumerate(log)
            if value is not None and offset >= self.lows.get(partition, 0)
        }

    def topic(self, name: str) -> Topic | None:
        if name not in self.logs:
            return None
        spans = {partition: Span(self.lows.get(partition, 0), len(log)) for partition, log in self.logs[name].items()}
        return Topic(name, self.topic_id, spans)

    def read(self, name: str, starts: Mapping[int, int]) -> Iterator[Batch]:
        batches = 0
        for partition, start in starts.items():
            log = self.logs[name][partition]
            assert self.lows.get(partition, 0) <= start <= len(log)
            for first in range(start, len(log), 7):
                if self.fail_after is not None and batches >= self.fail_after:
                    raise Transient("Kafka is away")
                until = min(first + 7, len(log))
                offsets = [offset for offset in range(first, until) if log[offset] is not None and offset != self.forget]
                held, values = len(offsets), [log[offset] for offset in offsets]
                batches += 1
                yield Batch(Columns([partition] * held, offsets, [1] * held, ["place"] * held, values, [None] * held), {partition: until})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, _env_file=None)


def loaded(settings: Settings, table: str = "frame", topic: str = TOPIC) -> dict[tuple[int, int], str]:
    with duckdb.connect(settings.warehouse_path) as con:
        rows = con.execute(f"select kafka_partition, kafka_offset, value from raw.{table} where kafka_topic = ?", [topic]).fetchall()
    found = {(partition, offset): value for partition, offset, value in rows}
    assert len(found) == len(rows), "a record is there twice"
    return found


def test_every_record_is_loaded_once_and_the_next_run_reads_on(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(100)
    assert [(topic.topic, topic.read, topic.lag) for topic in ingest(settings, TOPICS, records=kafka).topics] == [(TOPIC, 100, 0)]
    assert ingest(settings, TOPICS, records=kafka).read == 0
    kafka.append(31)
    kafka.append(3, topic="stream-label")
    assert {topic.topic: topic.read for topic in ingest(settings, TOPICS, records=kafka).topics} == {TOPIC: 31, "stream-label": 3}
    assert loaded(settings) == kafka.held()
    assert len(loaded(settings, "label", "stream-label")) == 3


def test_what_is_loaded_takes_no_room_twice_nor_time_to_be_compressed_twice(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(100)
    ingest(settings, TOPICS, records=kafka)
    with duckdb.connect(settings.warehouse_path) as con:
        assert con.table(f'{STAGING}."frame"').count("*").fetchall() == [(0,)]
        con.execute(f'insert into {STAGING}."frame" from {RAW}."frame"')
        con.execute("checkpoint")
        used = {name: _compression(con, f"{schema}.frame") for name, schema in (("staging", STAGING), ("kept", RAW))}
    assert used["staging"] == {"Uncompressed"}
    assert "Uncompressed" not in used["kept"]


def _compression(con: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    """How the columns' values are kept; what is the same in every row, and what is null, has nothing to keep."""
    found = con.execute(
        f"select distinct compression from pragma_storage_info('{table}') where segment_type <> 'VALIDITY' and compression <> 'Constant'"
    ).fetchall()
    return {compression for (compression,) in found}


def test_a_topic_without_records_has_an_empty_table(settings: Settings) -> None:
    ingest(settings, TOPICS, records=MemoryRecords())
    assert loaded(settings, "prediction") == {}


def test_local_state_lost_is_restored_from_the_warehouse(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(50)
    ingest(settings, TOPICS, records=kafka)
    (settings.home / "dlt").rename(settings.home / "gone")
    kafka.append(10)
    assert ingest(settings, TOPICS, records=kafka).read == 10
    assert loaded(settings) == kafka.held()


def test_a_new_warehouse_file_is_filled_from_the_start_though_dlt_remembers_positions(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(50)
    ingest(settings, TOPICS, records=kafka)
    settings.warehouse_path.unlink()
    assert ingest(settings, TOPICS, records=kafka).read == 50
    assert loaded(settings) == kafka.held()


def test_a_recreated_topic_is_read_from_its_start_and_the_old_rows_are_set_aside(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(60)
    before = kafka.held()
    ingest(settings, TOPICS, records=kafka)
    again = MemoryRecords(topic_id="second")
    again.append(80, word="again")  # longer than the old one: only the id tells them apart
    report = ingest(settings, TOPICS, records=again, clock=ManualClock(5_000)).topics[0]
    assert (report.read, report.set_aside) == (80, 60)
    assert loaded(settings) == again.held()
    assert loaded(settings, topic=f"{TOPIC}@until-5000") == before


def test_a_log_that_ends_before_what_was_loaded_is_read_anew_without_loss(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(60)
    before = kafka.held()
    ingest(settings, TOPICS, records=kafka)
    shorter = MemoryRecords()
    shorter.append(20, word="again")
    ingest(settings, TOPICS, records=shorter, clock=ManualClock(5_000))
    assert loaded(settings) == shorter.held()
    assert loaded(settings, topic=f"{TOPIC}@until-5000") == before


def test_records_that_left_kafka_unread_are_counted(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(20)
    ingest(settings, TOPICS, records=kafka)
    kafka.append(60)
    kafka.lows = {0: 25, 1: 0}
    report = ingest(settings, TOPICS, records=kafka).topics[0]
    assert report.expired == 25 - 11  # 10 records and a marker had been read of partition 0
    assert loaded(settings).items() >= {at: value for at, value in kafka.held().items() if at[1] >= 25}.items()


def test_kafka_going_away_halfway_leaves_nothing_half_known(settings: Settings) -> None:
    kafka = MemoryRecords(fail_after=3)
    kafka.append(100)
    with pytest.raises(Transient, match="Kafka is away"):
        ingest(settings, TOPICS, records=kafka)
    kafka.fail_after = None
    ingest(settings, TOPICS, records=kafka)
    assert loaded(settings) == kafka.held()


def test_a_row_that_does_not_arrive_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = MemoryRecords()
    kafka.append(40)
    whole = ingest_module._table
    with monkeypatch.context() as lossy:
        lossy.setattr(ingest_module, "_table", lambda topic, batch: whole(topic, batch).slice(1))
        with pytest.raises(Fatal, match=r"stream-frame-0: 20 records read from offset 0 to 22, 16 rows loaded"):
            ingest(settings, TOPICS, records=kafka)
    ingest(settings, TOPICS, records=kafka)
    assert loaded(settings) == kafka.held(), "the next run makes good"


def test_one_writer_at_a_time(settings: Settings) -> None:
    with locked(warehouse_lock(settings)), pytest.raises(Transient, match=r"warehouse\.lock"):
        ingest(settings, TOPICS, records=MemoryRecords(), wait_s=0.1)


@pytest.mark.parametrize("moment", ["complete_package", "start_new_jobs"])
def test_killed_between_data_and_state_a_rerun_is_exact(settings: Settings, moment: str) -> None:
    """``complete_package``: the data is committed, the load is not. ``start_new_jobs``: the positions are kept, the data is not."""
    kafka = MemoryRecords()
    kafka.append(200)
    ended = subprocess.run(
        [sys.executable, __file__, str(settings.home), moment], capture_output=True, text=True, check=False, timeout=120, env=os.environ
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    if moment == "complete_package":
        assert loaded(settings) == kafka.held(), "the data had been committed"
    kafka.append(20)
    ingest(settings, TOPICS, records=kafka)
    assert loaded(settings) == kafka.held()


def test_killed_and_local_state_lost_a_rerun_is_exact(settings: Settings) -> None:
    kafka = MemoryRecords()
    kafka.append(200)
    subprocess.run([sys.executable, __file__, str(settings.home), "complete_package"], check=False, timeout=120, capture_output=True)
    (settings.home / "dlt").rename(settings.home / "gone")
    assert ingest(settings, TOPICS, records=kafka).read == 200
    assert loaded(settings) == kafka.held()


def test_bytes_that_are_no_text_are_kept() -> None:
    assert as_text(b"\xff\x00") == NOT_TEXT + "/wA="
    assert (as_text("µ".encode()), as_text(None)) == ("µ", None)


@given(st.lists(st.none() | st.binary(max_size=6) | st.text(max_size=4).map(str.encode)))
def test_a_column_of_texts_is_the_text_of_each(data: list[bytes | None]) -> None:
    assert as_texts(data).to_pylist() == [as_text(each) for each in data]


@pytest.mark.parametrize(
    ("offsets", "ended", "position"),
    [([3, 4], None, 5), ([3, 4], 7, 7), ([3, 4, 8], 7, 9), ([], 7, 7)],
    ids=["records", "markers behind them", "records after the end was told", "markers only"],
)
def test_the_position_stands_behind_records_and_markers(offsets: list[int], ended: int | None, position: int) -> None:
    assert _positions([0] * len(offsets), offsets, {} if ended is None else {0: ended}) == {0: position}


def _killed_at(home: Path, moment: str) -> None:
    """Runs an ingest that dies by SIGKILL where dlt calls ``Load.<moment>``."""
    from dlt.load.load import Load

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Load, moment, die)
    kafka = MemoryRecords()
    kafka.append(200)
    ingest(Settings(home=home, _env_file=None), TOPICS, records=kafka)


if __name__ == "__main__":
    _killed_at(Path(sys.argv[1]), sys.argv[2])
