"""Kafka to DuckDB: the ingest, exact whatever is killed when, beside a bare consumer and beside dlt over dicts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import dlt
import duckdb
from confluent_kafka import Message, Producer

from benchmarks import frames, log
from benchmarks.row import Row, Side
from benchmarks.servers import own_settings, running
from mliot.messages import Frame
from mliot.settings import Settings
from streaming.kafka.client import KafkaSettings, produce
from warehouse.ingest import ingest

DISTINCT, TIMES = 20_000, 30
RECORDS = DISTINCT * TIMES
DICTS = 30_000
"""Fewer for dlt over dicts: they take it as long."""
TOPIC, TABLE = Frame.topic_name, "frame"
OVER_DICTS = "dlt over dicts"


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings = own_settings(folder)
    with running(settings, "kafka"):
        _fill(settings)
        loading = _Loading(settings)
        yield (
            Row(
                "Ingest, Kafka to DuckDB",
                "records/s",
                Side("MLIoT's ingest", loading.ours),
                (
                    Side(log.BARE, lambda: log.bare_rate(settings, TOPIC, RECORDS)),
                    Side(log.BARE_UNCOLLECTED, lambda: log.bare_rate_uncollected(settings, TOPIC, RECORDS)),
                    Side(OVER_DICTS, loading.over_dicts),
                ),
                {log.BARE: 0.5, log.BARE_UNCOLLECTED: 0.5, OVER_DICTS: 20},
                note=f"{RECORDS:,} frames of one topic into an empty warehouse, from the call to the end of its own check that each is "
                "there once; a run that is killed anywhere and repeated is as exact. The bare consumer (confluent-kafka, from its first "
                "batch on) decodes and keeps nothing; ours reads with Python's cyclic collector off, so it is measured that way too. "
                f"dlt over dicts loads {DICTS:,} of the same records with the same columns, "
                "`dlt.pipeline(...).run(generator)`, appending: a killed run that is repeated may load some twice.",
            ),
        )


def _fill(settings: Settings) -> None:
    producer = Producer(KafkaSettings.of(settings, "benchmark").producer())
    records = frames.records(DISTINCT, time.time_ns() // 1_000_000)
    for _ in range(TIMES):
        for record in records:
            produce(producer, record)
            producer.poll(0)
    if left := producer.flush(log.PATIENCE_S):
        raise TimeoutError(f"{left} records were not written")


class _Loading:
    """Each side loads the topic from its beginning, into a folder of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runs = count()

    def ours(self) -> float:
        settings = self._settings.model_copy(update={"home": self._folder()})
        began = time.perf_counter()
        report = ingest(settings, {TOPIC: TABLE})
        rate = report.read / (time.perf_counter() - began)
        _check(settings.warehouse_path, report.read, RECORDS)
        return rate

    def over_dicts(self) -> float:
        folder = self._folder()
        file = folder / "warehouse.duckdb"
        pipeline = dlt.pipeline(
            "peer", pipelines_dir=str(folder / "dlt"), destination=dlt.destinations.duckdb(str(file)), dataset_name="raw"
        )
        began = time.perf_counter()
        pipeline.run(self._pages(), table_name=TABLE)
        rate = DICTS / (time.perf_counter() - began)
        _check(file, DICTS, DICTS)
        return rate

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        """As dlt would have it: a list of dicts for each batch, which takes less time than one at a time."""
        left = DICTS
        with log.reading(self._settings, TOPIC) as consumer:
            while left:
                messages = consumer.consume(min(log.MOST, left), 1.0)
                left -= len(messages)
                yield [_as_dict(message) for message in messages]

    def _folder(self) -> Path:
        folder = self._settings.home / f"load-{next(self._runs)}"
        folder.mkdir()
        return folder


def _as_dict(message: Message) -> dict[str, Any]:
    key, value = message.key(), message.value()
    headers: dict[str, Any] = dict(message.headers() or ())
    return {
        "kafka_topic": message.topic(),
        "kafka_partition": message.partition(),
        "kafka_offset": message.offset(),
        "kafka_ms": message.timestamp()[1],
        "key": key.decode() if isinstance(key, bytes) else key,
        "value": value.decode() if isinstance(value, bytes) else value,
        "traceparent": headers["traceparent"].decode(),
    }


def _check(file: Path, read: int, wanted: int) -> None:
    """Raises :class:`ValueError` where not every record is there, once."""
    with duckdb.connect(file, read_only=True) as con:
        found = con.execute(f'select count(*), count(distinct (kafka_partition, kafka_offset)) from raw."{TABLE}"').fetchall()[0]
    if (read, *found) != (wanted, wanted, wanted):
        raise ValueError(f"{wanted} records were to be loaded; {read} were read, {found[0]} are there, {found[1]} of them once")
