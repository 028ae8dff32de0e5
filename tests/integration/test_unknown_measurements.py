"""A misspelt measurement shows: in the store's count, at the command line and on the dashboard."""

import asyncio
import json
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from dashboard.data import queries
from dashboard.data.rows import UnknownName
from dashboard.view.operations import unknown_views
from dashboard.view.places import Known
from mliot.cli import build
from mliot.measurements import load_measurements
from mliot.messages import Frame
from mliot.unknown import MAX_NAMES
from streaming.runtime.effects import Partition, Record, Rewound, Save
from streaming.services.store import decide
from streaming.sinks.postgres import PostgresStore
from tests.builtingrains import GRAINS

pytestmark = pytest.mark.stack
KNOWN = load_measurements()
PARTITION = Partition("stream-frame", 0)
NOW_MS = 1_764_000_000_000


@pytest.fixture
def dsn(postgres_server: Any) -> str:
    address = str(postgres_server.settings.postgres_address)
    with psycopg.connect(address, options="-c search_path=mliot") as connection:
        connection.execute("truncate frame, frame_latest, unknown_measurement, position")
    return address


def record(offset: int, device: str, **payload: float) -> Record:
    frame = Frame(
        frame_id=f"{device}@{NOW_MS + offset}#0", device=device, place_id="room-1", event_ms=NOW_MS + offset, arrived_ms=NOW_MS + offset,
        mqtt_topic="t", payload=payload,
    )  # fmt: skip
    return Record("stream-frame", 0, offset, NOW_MS, "room-1", frame.encode(), "")


def save(dsn: str, records: list[Record], before: int, after: int) -> None:
    with PostgresStore(dsn, known=KNOWN) as store:
        store.save(Save(decide(records, NOW_MS)[0], len(records), {PARTITION: before}, {PARTITION: after}))


def rows(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("select device, name, frames from mliot.unknown_measurement order by device, name").fetchall()


def test_each_frame_counts_once_also_where_it_comes_again_or_its_batch_is_undone(dsn: str) -> None:
    batch = [record(0, "a", temprature=20.0), record(1, "a", temprature=21.0, humidity=50.0), record(2, "b", temperature=20.0)]
    save(dsn, batch, 0, 3)
    assert rows(dsn) == [("a", "temprature", 2)]
    with pytest.raises(Rewound):
        save(dsn, [record(3, "a", temprature=22.0)], 0, 4)  # another reader has moved on
    assert rows(dsn) == [("a", "temprature", 2)]
    save(dsn, [*batch, record(3, "a", temprature=22.0), record(3, "a", temprature=22.0)], 3, 4)
    assert rows(dsn) == [("a", "temprature", 3)]


def test_a_hostile_device_makes_no_more_rows_than_it_may(dsn: str) -> None:
    for at in range(3):
        save(dsn, [record(at, "a", **{f"n{at}_{i}": 1.0 for i in range(5000)})], at, at + 1)
    found = rows(dsn)
    assert len(found) == MAX_NAMES + 1
    assert found[0] == ("a", "", 3), "the others are counted together"


def test_the_command_line_lists_them_with_the_nearest_known_name(dsn: str) -> None:
    save(dsn, [record(0, "a", temprature=20.0), record(1, "b", temprature=20.0, zzz=1.0), record(2, "b", temprature=21.0)], 0, 3)
    environment = {"MLIOT_POSTGRES_DSN": dsn, "COLUMNS": "200"}
    listed = CliRunner().invoke(build(), ["measurements", "unknown"], env=environment)
    assert listed.exit_code == 0, listed.output
    lines = [" ".join(line.replace("│", " ").split()) for line in listed.output.splitlines()]
    assert any(line.startswith("b temprature 2 ") and line.endswith(" temperature") for line in lines), listed.output
    asked = CliRunner().invoke(build(), ["measurements", "unknown", "--json"], env=environment)
    found = {(one["device"], one["name"]): one for one in json.loads(asked.stdout)}
    assert (found["a", "temprature"]["nearest"], found["b", "zzz"]["nearest"]) == ("temperature", None)
    assert found["b", "temprature"]["frames"] == 2


def test_the_dashboard_tells_them_over_all_devices_while_they_are_news_and_unknown(dsn: str) -> None:
    save(dsn, [record(0, "a", temprature=20.0), record(1, "b", temprature=20.0), record(2, "b", temprature=21.0, soil=1.0)], 0, 3)

    async def read(known: Any, now_ms: int) -> tuple[UnknownName, ...]:
        async with await psycopg.AsyncConnection.connect(dsn) as store:
            return await queries.unknown(store, known, now_ms)

    found = asyncio.run(read(KNOWN, NOW_MS + 1000))
    views = unknown_views(found, Known({}, KNOWN, GRAINS))
    assert [view.text for view in views] == [
        "temprature: 3 frames of 2 devices, most of b; did you mean temperature?",
        "soil: 1 frame of b",
    ]
    assert [one.name for one in asyncio.run(read([*KNOWN, "soil"], NOW_MS))] == ["temprature"], "made known since"
    assert asyncio.run(read(KNOWN, NOW_MS + 3 * 86_400_000)) == ()
