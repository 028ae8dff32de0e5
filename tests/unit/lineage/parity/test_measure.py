"""The standing comparison of served with built rows: that it is exact, that it bites, and that it tells late frames apart."""

from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb
import msgspec
import pytest

from lineage.parity.measure import measure_parity
from lineage.parity.result import Parity
from mliot.errors import Transient
from mliot.featuremodels import FeatureModels
from mliot.messages import Feature
from mliot.settings import Settings
from streaming.features.openwindows import OpenWindows
from streaming.runtime.effects import Record
from tests.unit.dbt.generated import generated_frames, raw_rows, raw_value
from tests.unit.dbt.naive import Logged
from warehouse.access import publish_copy
from warehouse.raw import create_raw_tables

PLACE, HOUR = "features_place_1m", "features_place_1h"
NOW = 1_764_100_000_000
Change = Callable[[Feature], Feature | None]


def serve(models: FeatureModels, frames: list[Logged], grace_ms: int, chunk: int = 100) -> list[tuple[int, Feature]]:
    """What the stream serves of ``frames`` in the order of the log, each row with its partition: all partitions hold the watermark back."""
    newest = {0: 0, 1: 0}
    served: list[tuple[int, Feature]] = []
    partition_of = {frame.place_id: frame.partition for frame in frames}
    with OpenWindows(models) as windows:
        windows.start(newest)
        for at in range(0, len(frames), chunk):
            batch = frames[at : at + chunk]
            for frame in batch:
                newest[frame.partition] = max(newest[frame.partition], frame.event_ms)
            now_ms = max(newest.values()) + 1000
            records = [Record("stream-frame", f.partition, f.offset, f.event_ms, f.place_id, raw_value(f).encode(), "") for f in batch]
            added = windows.add(records, past=False, now_ms=now_ms)
            closed = windows.close(min(newest.values()) - grace_ms, "watermark", now_ms)
            served += [(partition_of[row.place_id], row) for row in (*added.features, *closed.features)]
    return served


def store(settings: Settings, models: FeatureModels, frames: list[Logged], served: Iterable[tuple[int, Feature]]) -> None:
    """The warehouse's file: raw records, and the models built over them."""
    settings.warehouse_path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(settings.warehouse_path) as con:
        create_raw_tables(con)
        insert(con, "frame", raw_rows(frames))
        insert(
            con,
            "feature",
            [
                ("stream-feature", partition, offset, 0, row.place_id, row.encode().decode(), None)
                for offset, (partition, row) in enumerate(served)
            ],
        )
        con.execute("create schema if not exists staging; create schema if not exists features")
        con.execute(f"create view staging.stg_frames as {models.staging_sql}")
        con.execute(f"create table staging.frames as {models.frames_sql}")
        for window in models.windows:
            con.execute(f"create table {window.relation} as {window.sql}")
            con.execute(f"create view {window.closing} as from {window.relation}")
        for feature in models.features:
            con.execute(f"create table {feature.relation} as {feature.sql}")
    publish_copy(settings)


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[object, ...]]) -> None:
    appender = con.appender(f"raw.{table}")
    appender.append_rows(rows)
    appender.flush()


@pytest.fixture(scope="module")
def frames() -> list[Logged]:
    return generated_frames(1000)


@pytest.fixture(scope="module")
def on_time(models: FeatureModels, frames: list[Logged]) -> list[tuple[int, Feature]]:
    return serve(models, frames, grace_ms=600_000)


@pytest.fixture(scope="module")
def hasty(models: FeatureModels, frames: list[Logged]) -> list[tuple[int, Feature]]:
    """Served without any grace: frames come late."""
    return serve(models, frames, grace_ms=0)


@pytest.fixture
def check(tmp_path: Path, models: FeatureModels, frames: list[Logged]) -> Callable[..., dict[str, Parity]]:
    def check(served: Iterable[tuple[int, Feature]], change: Change = lambda row: row, **more: float) -> dict[str, Parity]:
        settings = Settings(_env_file=None, home=tmp_path, grace_s=more.get("grace_s", 0))
        changed = [(partition, found) for partition, row in served if (found := change(row)) is not None]
        store(settings, models, frames, changed)
        return {found.model: found for found in measure_parity(settings, models, NOW)}

    return check


def test_what_was_served_on_time_equals_what_was_built(
    check: Callable[..., dict[str, Parity]], on_time: list[tuple[int, Feature]], models: FeatureModels
) -> None:
    found = check(on_time)
    assert list(found) == [model.name for model in models.features]
    for one in found.values():
        assert one.passed, one.summary
        assert (one.differ, one.late_rows, one.missing, one.extra, one.example, one.largest) == (0, 0, 0, 0, "", 0)
    assert sum(one.values for one in found.values()) > 20_000
    assert found[PLACE].rows > 100
    assert found[PLACE].summary == f"{found[PLACE].values:,} values compared, 0 differ"


def test_late_frames_are_the_reason_of_every_difference_and_are_counted_apart(
    check: Callable[..., dict[str, Parity]], hasty: list[tuple[int, Feature]]
) -> None:
    found = check(hasty)
    for one in found.values():
        assert one.passed, one.summary
        assert one.differ == 0
    assert found[PLACE].late_rows > 5
    assert 0 < found[PLACE].late_share < 1
    assert "rows differ by late frames only" in found[PLACE].summary


@pytest.mark.parametrize("served", ["on_time", "hasty"])
@pytest.mark.parametrize(
    ("column", "factor", "differ"),
    [("temperature_avg", 1 + 1e-6, 1), ("temperature_avg", 1 + 1e-12, 0), ("temperature_max", 1 + 1e-12, 1), ("temperature_slope", 1.5, 1)],
)
def test_one_changed_value_is_found_also_among_late_rows(
    check: Callable[..., dict[str, Parity]], request: pytest.FixtureRequest, served: str, column: str, factor: float, differ: int
) -> None:
    rows: list[tuple[int, Feature]] = request.getfixturevalue(served)
    target = middle(rows, PLACE, column)

    def change(row: Feature) -> Feature:
        if row.feature_id != target or row.model != PLACE:
            return row
        return msgspec.structs.replace(row, values={**row.values, column: row.values[column] * factor})

    found = check(rows, change)
    assert found[PLACE].differ == differ
    assert found[PLACE].passed is (differ == 0)
    if differ:
        assert found[PLACE].example.startswith(f"{target} {column}: ")
        assert found[PLACE].largest == pytest.approx(abs(factor - 1) / factor, rel=1e-3)
    assert all(one.passed for name, one in found.items() if name != PLACE)


def test_a_value_that_only_one_side_has_differs(check: Callable[..., dict[str, Parity]], on_time: list[tuple[int, Feature]]) -> None:
    target = middle(on_time, HOUR, "water_flow_avg")

    def change(row: Feature) -> Feature:
        return msgspec.structs.replace(row, values={**row.values, "co2_avg": 1.0}) if row.feature_id == target else row

    found = check(on_time, change)[HOUR]
    assert (found.differ, found.largest) == (1, float("inf"))
    assert found.example == f"{target} co2_avg: 1.0 served, none built"


@pytest.mark.parametrize("model", [PLACE, "features_sensor_frame"])
def test_a_row_that_was_not_served_is_missing_and_one_that_was_not_built_is_extra(
    check: Callable[..., dict[str, Parity]], on_time: list[tuple[int, Feature]], model: str
) -> None:
    target = middle(on_time, model)

    def change(row: Feature) -> Feature | None:
        if row.feature_id != target:
            return row
        return msgspec.structs.replace(row, feature_id=row.feature_id + "0") if model == PLACE else None

    found = check(on_time, change)[model]
    assert (found.missing, found.missing_late, found.extra) == (1, 0, 1 if model == PLACE else 0)
    assert not found.passed


def test_what_is_not_closed_or_was_made_with_other_sql_is_not_judged(
    check: Callable[..., dict[str, Parity]], on_time: list[tuple[int, Feature]]
) -> None:
    newest_ms = max(row.made_ms for _, row in on_time)

    def change(row: Feature) -> Feature | None:
        if row.made_ms == newest_ms:
            return None  # not loaded yet
        if row.start_ms % 180_000 == 0:
            return msgspec.structs.replace(row, last="")  # of a foreign writer
        wrong = {name: value + 1 for name, value in row.values.items()}
        return msgspec.structs.replace(row, version="older", values=wrong) if row.start_ms % 120_000 else row

    found = check(on_time, change)
    assert all(one.passed for one in found.values()), [one.summary for one in found.values()]
    assert 0 < found[PLACE].rows < sum(row.model == PLACE for _, row in on_time)


def test_without_warehouse_or_tables_there_is_nothing_to_compare(tmp_path: Path, models: FeatureModels) -> None:
    settings = Settings(_env_file=None, home=tmp_path)
    with pytest.raises(Transient, match="there is no warehouse to read yet"):
        measure_parity(settings, models, NOW)
    with duckdb.connect(settings.warehouse_path) as con:
        create_raw_tables(con)
    publish_copy(settings)
    assert measure_parity(settings, models, NOW) == []


def middle(rows: list[tuple[int, Feature]], model: str, column: str = "") -> str:
    """The id of a row of the model, from the middle of the log, that has the column."""
    found = [row.feature_id for _, row in rows if row.model == model and (not column or row.values.get(column))]
    return found[len(found) // 2]
