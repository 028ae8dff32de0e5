"""Feature rows to stored predictions: inference, endpoint and store beside a DataFrame, a prediction and an INSERT a message."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from sklearn.ensemble import RandomForestClassifier

from benchmarks import log, models
from benchmarks.frames import feature_rows
from benchmarks.row import Row, Side
from benchmarks.servers import Health, own_settings, running
from mliot.messages import Feature
from mliot.settings import Settings
from mliot.usecase import UseCase
from streaming.runtime.effects import Emit
from usecases import load_use_cases

FEATURES = 50_000
CLASSIC_FEATURES = 500
CLASSIC = "a DataFrame, a predict and an INSERT a message"


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings, use_case = own_settings(folder), load_use_cases()["fan_speed"]
    models.make_champion(settings, use_case)
    emits = feature_rows(FEATURES, use_case.features)
    with running(settings, "kafka", "postgres", "endpoint"):
        classic = _Classic(settings, use_case)
        log.Backlog(settings, emits).show()  # what the peer reads; the services are given the same anew
        yield (
            Row(
                "Live inference, features to stored prediction",
                "predictions/s",
                Side("inference, endpoint and store", lambda: _ours(settings, emits)),
                (Side(CLASSIC, classic.rate),),
                {CLASSIC: 50},
                note=f"{FEATURES:,} feature rows in Kafka, until PostgreSQL has committed a prediction for each. Ours scores micro-batches "
                "over HTTP at the endpoint, exactly once, and stores every feature row too. The classic way polls one message, makes a "
                "pandas DataFrame of it, asks the same forest of 100 trees in scikit-learn, and inserts and commits the answer.",
            ),
        )


def _ours(settings: Settings, emits: Sequence[Emit]) -> float:
    log.empty(settings, "inference")
    with psycopg.connect(settings.postgres_address, autocommit=True) as connection:
        connection.execute("truncate mliot.feature, mliot.prediction")
        with running(settings, "inference", "store"):
            store = Health((settings, "store"))
            Health((settings, "store"), (settings, "inference")).wait_ok()
            began = log.Backlog(settings, emits).show()
            seconds = store.seconds_to_read(2 * len(emits), began)
        stored = connection.execute("select count(*) from mliot.prediction").fetchone()
    if stored != (len(emits),):
        raise RuntimeError(f"of {len(emits)} predictions {stored} are stored")
    return len(emits) / seconds


class _Classic:
    """One message after the other, all in one process."""

    def __init__(self, settings: Settings, use_case: UseCase) -> None:
        self._settings, self._columns = settings, list(use_case.columns)
        learnt = models.learnable(use_case)
        self._forest = RandomForestClassifier(n_estimators=models.FOREST.trees, max_depth=models.FOREST.depth, random_state=7)
        self._forest.fit(pd.DataFrame(learnt.values, columns=self._columns), learnt.labels.astype(int))
        with psycopg.connect(settings.postgres_address, autocommit=True) as connection:
            connection.execute("create table if not exists classic (feature_id text primary key, made_ms bigint, value double precision)")

    def rate(self) -> float:
        """Predictions a second."""
        with (
            psycopg.connect(self._settings.postgres_address, autocommit=True) as connection,
            log.reading(self._settings, Feature.topic_name) as consumer,
        ):
            connection.execute("truncate classic")
            done, began = 0, 0.0
            while done < CLASSIC_FEATURES:
                message = consumer.poll(1.0)
                if message is None:
                    continue
                began = began or time.perf_counter()
                row: dict[str, Any] = json.loads(message.value() or b"")
                frame = pd.DataFrame([row["values"]], columns=self._columns)
                value = float(self._forest.predict(frame)[0])
                connection.execute("insert into classic values (%s, %s, %s)", (row["feature_id"], time.time_ns() // 1_000_000, value))
                done += 1
            return done / (time.perf_counter() - began)
