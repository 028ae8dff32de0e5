"""The newest served rows, as the warehouse has them."""

import duckdb
import numpy as np
import pytest

from learning.monitoring.served import newest_served
from mliot.messages import Feature
from mliot.usecase import UseCase
from usecases import load_use_cases
from warehouse.raw import create_raw_tables

MINUTE = 60_000


@pytest.fixture
def use_case() -> UseCase:
    return load_use_cases()["fan_speed"]


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("attach ':memory:' as warehouse")
    made.execute("use warehouse")
    create_raw_tables(made)
    return made


def put(con: duckdb.DuckDBPyConnection, offset: int, value: str | None) -> None:
    con.execute("insert into warehouse.raw.feature values ('stream-feature', 0, ?, 0, 'key', ?, null)", [offset, value]).fetchall()


def feature(use_case: UseCase, minute: int, temperature: float, *, place: str = "room-1", model: str | None = None) -> str:
    start = minute * MINUTE
    return (
        Feature(
            feature_id=f"place_1m:{place}@{start}",
            model=model or use_case.features,
            version="1",
            grain="place_1m",
            key=place,
            place_id=place,
            start_ms=start,
            end_ms=start + MINUTE,
            frames=1,
            first="a",
            last="a",
            made_ms=start,
            values={"temperature_avg": temperature, "foreign": 1.0},
        )
        .encode()
        .decode()
    )


def test_the_newest_rows_of_the_use_case_each_once(con: duckdb.DuckDBPyConnection, use_case: UseCase) -> None:
    for offset, value in enumerate(
        [
            feature(use_case, 1, 21.0),
            feature(use_case, 9, 29.0),
            feature(use_case, 5, 25.0),
            feature(use_case, 5, 99.0),  # delivered again
            feature(use_case, 7, 0.0, place="water-1"),
            feature(use_case, 8, 0.0, model="features_place_1h"),
            "no JSON",
            None,
        ]
    ):
        put(con, offset, value)
    found = newest_served(con, use_case, most=2)
    assert tuple(found.columns) == use_case.columns
    assert found["temperature_avg"].tolist() == [29.0, 25.0]
    assert np.isnan(found["humidity_avg"]).all()


def test_nothing_served_is_an_empty_table_with_the_columns(con: duckdb.DuckDBPyConnection, use_case: UseCase) -> None:
    found = newest_served(con, use_case, most=10)
    assert len(found) == 0
    assert tuple(found.columns) == use_case.columns
