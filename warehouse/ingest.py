"""Kafka into the warehouse: every committed record of every topic, each once, whatever is killed when.

dlt keeps the positions in its own state, which it commits beside the data but not in one transaction with it. A run that was killed between
the two reads some records again; they are loaded by an insert-only merge on (topic, partition, offset), which drops what is there already.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dlt
import duckdb
import pyarrow as pa
from dlt.pipeline.exceptions import PipelineStepFailed

from mliot.clock import Clock, SystemClock
from mliot.errors import Fatal, Transient
from mliot.settings import Settings
from warehouse.access import WRITER_WAIT_S, Say, opened, writing
from warehouse.incarnations import forget_generation, settle_generation
from warehouse.raw import RAW, TABLES, create_raw_tables, create_staging_tables
from warehouse.records import Batch, KafkaRecords, Records, Span

PIPELINE = "mliot_ingest"
_EXACT = ("kafka_topic", "kafka_partition", "kafka_offset")
_SCHEMA = pa.schema(
    [
        pa.field("kafka_topic", pa.string(), nullable=False),
        pa.field("kafka_partition", pa.int32(), nullable=False),
        pa.field("kafka_offset", pa.int64(), nullable=False),
        pa.field("kafka_ms", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("value", pa.string()),
        pa.field("traceparent", pa.string()),
    ]
)


@dataclass(frozen=True)
class Reading:
    """What one run shall read of one topic: from ``starts`` on, where that is before ``ends``.

    ``expired`` records had left Kafka before they were read; ``set_aside`` rows are of a former incarnation of the topic.
    """

    topic: str
    table: str
    generation: str
    starts: Mapping[int, int]
    ends: Mapping[int, int] = field(default_factory=dict)
    expired: int = 0
    set_aside: int = 0

    @property
    def behind(self) -> dict[int, int]:
        """The starts of the partitions that hold something to read."""
        return {partition: start for partition, start in self.starts.items() if start < self.ends[partition]}


@dataclass(frozen=True)
class TopicReport:
    """What one run did with one topic.

    ``read`` records were read and are in the table; ``lag`` had been committed since when the run ended; ``expired`` had left Kafka unread
    (retention); ``set_aside`` rows of a former incarnation of the topic were renamed.
    """

    topic: str
    table: str
    read: int
    lag: int
    expired: int
    set_aside: int


@dataclass(frozen=True)
class IngestReport:
    """What one run did, by topic; topics that do not exist yet are left out."""

    topics: tuple[TopicReport, ...]

    @property
    def read(self) -> int:
        """Records read, of all topics."""
        return sum(topic.read for topic in self.topics)

    @property
    def lag(self) -> int:
        """Records not read yet, of all topics."""
        return sum(topic.lag for topic in self.topics)


def ingest(
    settings: Settings,
    topics: Mapping[str, str] = TABLES,
    *,
    records: Records | None = None,
    clock: Clock | None = None,
    wait_s: float = WRITER_WAIT_S,
    say: Say | None = None,
) -> IngestReport:
    """Loads what Kafka holds and the warehouse does not, of ``topics`` (topic to table), and checks that every record read is there once.

    While somebody else has the warehouse file open it waits, and says so to ``say``. Raises :class:`Transient` where Kafka is away, or
    that took longer than ``wait_s``; :class:`Fatal` where the check fails.
    """
    source = records or KafkaRecords(settings.kafka_address)
    with writing(settings, wait_s=wait_s, say=say) as deadline, opened(settings, deadline, say):  # stays open: nobody comes between
        pipeline = make_pipeline(settings)
        _finish(pipeline)
        readings = _plan(settings, pipeline, source, topics, (clock or SystemClock()).now_ms())
        done = {reading.topic: Progress() for reading in readings}
        try:
            pipeline.run(kafka_source(readings, source, done))
        except PipelineStepFailed as error:
            cause = error.__cause__
            raise (cause if isinstance(cause, Transient) else Transient(f"dlt: {' '.join(str(error).split())}")) from error
        _verify(settings, readings, done)
    return IngestReport(tuple(_report(reading, done[reading.topic], source) for reading in readings))


@dataclass
class Progress:
    """How far one run came in one topic."""

    positions: dict[int, int] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, batch: Batch) -> None:
        """Counts ``batch``'s records and moves to its positions."""
        self.positions.update(batch.positions)
        self.counts.update(batch.records.partitions)


def make_pipeline(settings: Settings) -> Any:
    """dlt's pipeline into the warehouse file; its working files and local state lie under ``settings.home``."""
    dlt.config["runtime.dlthub_telemetry"] = False
    dlt.config["load.truncate_staging_dataset"] = True
    settings.home.mkdir(parents=True, exist_ok=True)
    return dlt.pipeline(
        PIPELINE,
        pipelines_dir=str(settings.home.resolve() / "dlt"),
        destination=dlt.destinations.duckdb(str(settings.warehouse_path.resolve())),
        dataset_name=RAW,
    )


def kafka_source(readings: tuple[Reading, ...], records: Records, done: Mapping[str, Progress]) -> Any:
    """dlt's source: one resource a topic, which yields Arrow tables and moves its positions in dlt's state as it goes."""

    def resource(reading: Reading) -> Any:
        def tables() -> Iterator[pa.Table]:
            state = dlt.current.resource_state()
            positions = {str(partition): start for partition, start in reading.starts.items()}
            for batch in records.read(reading.topic, reading.behind):
                done[reading.topic].add(batch)
                positions.update((str(partition), position) for partition, position in batch.positions.items())
                state.update(generation=reading.generation, positions=dict(positions))
                if batch.records.offsets:
                    yield _table(reading.topic, batch)

        return dlt.resource(
            tables,
            name=reading.topic,
            table_name=reading.table,
            primary_key=_EXACT,
            write_disposition={"disposition": "merge", "strategy": "insert-only"},
        )

    @dlt.source(name=PIPELINE, max_table_nesting=0)
    def kafka() -> Iterator[Any]:
        yield from (resource(reading) for reading in readings)

    return kafka()


def _finish(pipeline: Any) -> None:
    """Loads what a killed run had read already; its positions are in the state, so nobody would read it again."""
    if pipeline.has_pending_data:
        pipeline.run()


def _plan(settings: Settings, pipeline: Any, records: Records, topics: Mapping[str, str], now_ms: int) -> tuple[Reading, ...]:
    """Where each topic that exists is to be read from."""
    pipeline.sync_destination()
    kept = pipeline.state.get("sources", {}).get(PIPELINE, {}).get("resources", {})
    readings = []
    with duckdb.connect(settings.warehouse_path) as con:
        create_raw_tables(con)
        create_staging_tables(con, topics.values())
        for name, table in topics.items():
            topic = records.topic(name)
            if topic is None:
                continue
            generation = settle_generation(con, topic, table, now_ms)
            state = kept.get(name, {})
            known = state.get("positions", {}) if state.get("generation") == generation.name else {}
            starts = {partition: _start(known.get(str(partition)), span) for partition, span in topic.spans.items()}
            expired = sum(max(0, span.low - known.get(str(partition), span.low)) for partition, span in topic.spans.items())
            ends = {partition: span.end for partition, span in topic.spans.items()}
            readings.append(Reading(name, table, generation.name, starts, ends, expired, generation.renamed))
    return tuple(readings)


def _start(position: int | None, span: Span) -> int:
    """Where to read on; a position that the log does not hold (expired, or of a tail that was lost) means the oldest record there is."""
    return position if position is not None and span.low <= position <= span.end else span.low


def _table(topic: str, batch: Batch) -> pa.Table:
    """The batch's records: their fields are the table's columns, behind the topic."""
    columns = [[topic] * len(batch.records.offsets), *batch.records]
    return pa.table(dict(zip(_SCHEMA.names, columns, strict=True)), schema=_SCHEMA)


def _verify(settings: Settings, readings: tuple[Reading, ...], done: Mapping[str, Progress]) -> None:
    """Raises :class:`Fatal` where a partition's rows are not as many as its records that were read, or one is there twice.

    The positions are in dlt's state by then, so the topic is marked to be read from its start again.
    """
    with duckdb.connect(settings.warehouse_path) as con:
        for reading in readings:
            for partition, count in done[reading.topic].counts.items():
                span = [reading.topic, partition, reading.starts[partition], done[reading.topic].positions[partition]]
                found = con.execute(
                    f'select count(*), count(distinct kafka_offset) from {RAW}."{reading.table}" '  # noqa: S608 -- this package's own name
                    "where kafka_topic = ? and kafka_partition = ? and kafka_offset >= ? and kafka_offset < ?",
                    span,
                ).fetchall()[0]
                if found != (count, count):
                    forget_generation(con, reading.topic)
                    raise Fatal(
                        f"{reading.topic}-{partition}: {count} records read from offset {span[2]} to {span[3]}, {found[0]} rows loaded"
                    )


def _report(reading: Reading, progress: Progress, records: Records) -> TopicReport:
    now = records.topic(reading.topic)
    reached = {**reading.starts, **progress.positions}
    lag = sum(max(0, span.end - reached.get(partition, span.low)) for partition, span in now.spans.items()) if now else 0
    return TopicReport(reading.topic, reading.table, sum(progress.counts.values()), lag, reading.expired, reading.set_aside)
