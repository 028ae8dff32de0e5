"""dbt's models over generated frames, built for real into a file, judged value by value by the naive twin."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from mliot.featuremodels import RAW_FRAME, STG_FRAMES, FeatureModels, create_stream_schema
from mliot.measurements import load_measurements
from mliot.settings import Settings
from tests.unit.dbt.generated import generated_frames, raw_rows
from tests.unit.dbt.naive import Comparison, Logged, Rows, compare, naive_models
from warehouse.access import open_warehouse
from warehouse.dbt import BuildReport, build
from warehouse.raw import create_raw_tables

MAY_BE_ANYTHING = {"key", "traceparent"}
"""Columns of raw records that may be null and hold any text."""


@pytest.fixture(scope="module")
def frames() -> list[Logged]:
    return generated_frames()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, compiled_settings: Callable[..., Settings]) -> Settings:
    return compiled_settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def built(settings: Settings, frames: list[Logged]) -> BuildReport:
    with open_warehouse(settings, "write") as con:
        create_raw_tables(con)
        con.executemany("insert into raw.frame values (?, ?, ?, ?, ?, ?, ?)", [list(row) for row in raw_rows(frames)])
        con.execute(
            "insert into raw.frame values ('stream-frame', 7, 0, 0, null, 'no JSON', null), ('stream-frame', 7, 1, 0, null, '[]', null)"
        )
    return build(settings)


@pytest.fixture(scope="module")
def warehouse(settings: Settings, built: BuildReport) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_warehouse(settings) as con:
        yield con


def rows(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    cursor = con.execute(query)
    columns = [column[0] for column in cursor.description or ()]
    return {str(row[0]): dict(zip(columns, row, strict=True)) for row in cursor.fetchall()}


def test_every_value_of_every_model_is_the_twins(
    warehouse: duckdb.DuckDBPyConnection, frames: list[Logged], models: FeatureModels, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = naive_models(frames, load_measurements())
    assert expected.keys() == {model.name for model in (*models.windows, *models.features)}
    comparison = Comparison()
    for name, wanted in expected.items():
        compare(name, wanted, rows(warehouse, f"from features.{name}"), comparison)
    with capsys.disabled():
        print(f"\nbatch and naive twin: {comparison}")
    assert comparison.differ == []
    assert comparison.compared > 100_000


def test_the_twin_notices_one_changed_value(frames: list[Logged]) -> None:
    expected = naive_models(frames, load_measurements())
    index = next(index for index, frame in enumerate(frames) if "temperature" in frame.payload)
    changed = replace(frames[index], payload={**frames[index].payload, "temperature": frames[index].payload["temperature"] + 1e-5})
    other = naive_models([*frames[:index], changed, *frames[index + 1 :]], load_measurements())
    comparison = compare("windows_sensor_1m", expected["windows_sensor_1m"], other["windows_sensor_1m"], Comparison())
    assert any("temperature_avg" in difference for difference in comparison.differ)
    lost = dict(list(expected["features_place_1m"].items())[1:])
    assert len(compare("features_place_1m", expected["features_place_1m"], lost, Comparison()).differ) == 1


def test_micro_batches_give_the_same_bits_as_history(
    warehouse: duckdb.DuckDBPyConnection, frames: list[Logged], models: FeatureModels
) -> None:
    """Frames come 500 at a time; windows close at once when all of their frames are there, and only their lookback is kept."""
    live: dict[str, Rows] = {model.name: {} for model in (*models.windows, *models.features)}
    with duckdb.connect() as con:
        create_stream_schema(con, models)
        pending = sorted(frames, key=lambda frame: (frame.event_ms, frame.partition, frame.offset))
        for first in range(0, len(pending), 500):
            batch = pending[first : first + 500]
            con.executemany(f"insert into {RAW_FRAME} values (?, ?, ?, ?, ?, ?, ?)", [list(row) for row in raw_rows(batch)])
            con.execute(f"insert into {STG_FRAMES} {models.staging_sql}").fetchall()
            con.execute(f"delete from {RAW_FRAME}").fetchall()
            until = pending[first + 500].event_ms if first + 500 < len(pending) else 1 << 60
            _close(con, models, until, live)
    for name, wanted in live.items():
        assert wanted == rows(warehouse, f"from features.{name}"), name


def _close(con: duckdb.DuckDBPyConnection, models: FeatureModels, until: int, live: dict[str, Rows]) -> None:
    for window in models.windows:
        known = ", ".join(f"'{window_id}'" for window_id in live[window.name]) or "''"
        closed = f"from ({window.sql}) where end_ms <= {until} and window_id not in ({known})"
        con.execute(f"insert into {window.relation} {closed}").fetchall()
        new = rows(con, f"from {window.relation} where window_id not in ({known})")
        live[window.name] |= new
        for feature in models.features:
            if feature.source == window.name and new:
                made = rows(con, f"from ({feature.sql})")
                live[feature.name] |= {feature_id: row for feature_id, row in made.items() if feature_id in new}
                con.execute(
                    f"delete from {window.relation} where start_ms < {until} - {feature.lookback_ms} - 2 * {feature.window_ms}"
                ).fetchall()
    for feature in models.features:
        if feature.source == "frames":
            live[feature.name] |= rows(con, f"from ({feature.sql})")


def test_every_column_has_a_description_a_unit_and_a_test(settings: Settings, built: BuildReport) -> None:
    manifest = json.loads((settings.dbt_path / "target" / "manifest.json").read_text())
    nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
    tested: dict[str, set[str]] = {}
    for node in nodes:
        if node["resource_type"] == "test":
            tested.setdefault(node["attached_node"] or node["depends_on"]["nodes"][0], set()).update(_columns_tested(node["test_metadata"]))
    with open_warehouse(settings) as con:
        for node in nodes:
            if node["resource_type"] not in ("model", "source"):
                continue
            real = [row[0] for row in con.execute(f"describe {node['relation_name']}").fetchall()]
            assert list(node["columns"]) == real, node["name"]
            assert all(column["description"] and column["config"]["meta"]["unit"] for column in node["columns"].values()), node["name"]
            assert node["description"]
            if node["name"] != "stg_frames":  # the view behind `frames`, which has the same columns
                assert set(real) - tested[node["unique_id"]] <= MAY_BE_ANYTHING, node["name"]


def _columns_tested(test: dict[str, Any]) -> set[str]:
    arguments = test["kwargs"]
    suffixes = ("_count", "_min", "_max", "_avg", "_stddev", "_last") if test["name"] == "statistics_plausible" else ("",)
    named = {f"{name}{suffix}" for name in arguments.get("ranges", ()) for suffix in suffixes}
    own = {"value"} if test["name"] == "values_are_objects" else set()
    return named | own | set(arguments.get("columns", ())) | ({arguments["column_name"]} if "column_name" in arguments else set())


def test_only_the_records_that_are_no_frames_warn(built: BuildReport) -> None:
    assert [node.name for node in built.warnings] == ["source_values_are_objects_raw_frame_"]
    assert {node.status for node in built.nodes} == {"success", "pass", "warn"}
