"""What a comparison found is kept in the store, and told by the dashboard's query: the newest look, over all feature models."""

import asyncio
from dataclasses import replace

import psycopg

from dashboard.data import queries
from lineage.parity.keep import keep_parity
from lineage.parity.result import Parity
from stack.standalone import StandaloneServer

FOUND = Parity(
    "features_place_1m", "v1", 2000, 0, 1000, rows=3, values=12, differ=1, late_rows=1, missing=2, missing_late=1, extra=1, largest=0.5
)


async def told(address: str) -> object:
    async with await psycopg.AsyncConnection.connect(address) as store:
        return await queries.parity(store)


def test_the_newest_comparison_is_told_over_all_feature_models(postgres_server: StandaloneServer) -> None:
    settings = postgres_server.settings
    keep_parity(settings, [replace(FOUND, checked_ms=1000, differ=100)])
    keep_parity(settings, [FOUND, replace(FOUND, model="features_sensor_1m", differ=0, example="sensor_1m:a@0")])
    keep_parity(settings, [FOUND])  # a run that is repeated
    row = asyncio.run(told(settings.postgres_address))
    assert (row.checked_ms, row.values, row.differ, row.faults, row.late_rows) == (2000, 24, 1, 2 * (2 - 1 + 1), 2)
