"""Throughput of each service by its instances: one, two and four processes of a consumer group on one machine."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import models
from benchmarks.drain import drain_s
from benchmarks.frames import feature_rows, recent, records
from benchmarks.instances import instance
from benchmarks.row import Row, Side
from benchmarks.servers import own_settings, running
from mliot.settings import Settings
from streaming.runtime.effects import Emit
from usecases import load_use_cases
from warehouse.dbt import compile_for_stream

MOST, FEWER = 4, (2, 1)
FRAMES, FEATURES = 120_000, 60_000
NUMBERS = {1: "one instance", 2: "two instances", 4: "four instances"}


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings, use_case = own_settings(folder), load_use_cases()["fan_speed"]
    compile_for_stream(settings)  # once, not as part of the first start
    models.make_champion(settings, use_case)
    frames, features = records(FRAMES, recent(FRAMES)), feature_rows(FEATURES, use_case.features)
    with running(settings, "kafka", "postgres", "endpoint"):
        yield (
            _row(settings, "features", frames, "frames/s"),
            _row(settings, "inference", features, "feature rows/s"),
            _row(settings, "store", features, "rows/s"),
        )


def _row(settings: Settings, service: str, emits: Sequence[Emit], unit: str) -> Row:
    def rate(instances: int) -> float:
        with psycopg.connect(settings.postgres_address, autocommit=True) as connection:
            connection.execute("truncate mliot.frame, mliot.feature, mliot.prediction")
        each = [instance(settings, number) for number in range(instances)]
        return len(emits) / drain_s(settings, service, emits, instances=each)

    return Row(
        f"Instances of {service}",
        unit,
        Side(NUMBERS[MOST], partial(rate, MOST)),
        tuple(Side(NUMBERS[number], partial(rate, number)) for number in FEWER),
        {},
        note=f"{len(emits):,} records in {settings.partitions} partitions, read by one consumer group. Kafka, PostgreSQL and all instances "
        f"share the machine's {os.cpu_count()} cores: more instances help where fewer leave a core idle.",
    )
