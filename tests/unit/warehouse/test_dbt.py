"""dbt as MLIoT runs it: compiled only after a change, beside a locked warehouse, and a failure told in one line."""

from pathlib import Path

import duckdb
import msgspec
import pytest

from mliot.featuremodels import load_feature_models
from mliot.settings import Settings
from tests.fuzz.corpus import giants, load
from warehouse.access import open_warehouse
from warehouse.dbt import DbtFailed, build, compile_for_stream, docs
from warehouse.raw import create_raw_tables
from warehouse.records import as_text

FRAME = """{"frame_id": "a@1#0", "device": "a", "place_id": "p", "event_ms": 1764000000000, "arrived_ms": 1764000000000, "undated": false,
 "mqtt_topic": "t", "payload": {"humidity": %s}}"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), _env_file=None)


def test_compiles_beside_a_locked_warehouse_and_again_only_after_a_change(settings: Settings, tmp_path: Path) -> None:
    with duckdb.connect(settings.warehouse_path):
        manifest = compile_for_stream(settings)
    written = manifest.stat().st_mtime_ns
    assert compile_for_stream(settings).stat().st_mtime_ns == written
    before = load_feature_models(manifest)
    more = tmp_path / "measurements.yaml"
    more.write_text("noise: {unit: dB, range: [0, 200], about: sound level}\norder: {unit: '', range: [0, 1], about: a word of SQL}\n")
    after = load_feature_models(compile_for_stream(settings.model_copy(update={"measurements": more})))
    added = set(after.window("place_1m").columns) - set(before.window("place_1m").columns)
    assert {"noise_avg", "noise_last", "order_count"} <= added
    assert len(added) == 12
    assert after.versions != before.versions


def test_a_failed_data_test_is_told_in_one_line(settings: Settings) -> None:
    with open_warehouse(settings, "write") as con:
        create_raw_tables(con)
        con.executemany("insert into raw.frame values ('stream-frame', 0, 0, 1, 'p', ?, null)", [[FRAME % 50], [FRAME % 51]])
    with pytest.raises(DbtFailed, match=r"^dbt build: test source_once_raw_frame\S*: Got 1 result.*; see .*dbt\.log$"):
        build(settings, select="source:raw.frame")
    with pytest.raises(DbtFailed, match=r"^dbt build: nothing is called 'no_such_model'$"):
        build(settings, select="no_such_model")
    with open_warehouse(settings, "write") as con:
        con.execute("delete from raw.frame where value = ?", [FRAME % 51]).fetchall()
    assert {node.status for node in build(settings, select="stg_frames frames").nodes} == {"success", "pass"}


def test_what_no_bridge_writes_is_left_out_and_stops_nothing(settings: Settings) -> None:
    """Every kept record, good and hostile, and some giants: the warehouse builds, and holds the good frames only."""
    values = [known.data for known in load() if known.on == "stream-frame"]
    values += [giant for good in load("good_records") if good.on == "stream-frame" for giant in giants(good.data)]
    good = {msgspec.json.decode(known.data)["frame_id"] for known in load("good_records") if known.on == "stream-frame"}
    with open_warehouse(settings, "write") as con:
        create_raw_tables(con)
        con.execute("delete from raw.frame").fetchall()
        rows = [["stream-frame", 0, offset, 1, "k" * 65_536, as_text(value), "\0"] for offset, value in enumerate(values)]
        con.executemany("insert into raw.frame values (?, ?, ?, ?, ?, ?, ?)", rows)
    report = build(settings, select="stg_frames frames windows_sensor_1m windows_place_1m windows_place_1h features_place_1m")
    assert {node.status for node in report.nodes} == {"success", "pass"}
    with open_warehouse(settings, "read") as con:
        assert con.execute("select count(*) from raw.frame").fetchall() == [(len(values),)]
        assert {row[0] for row in con.execute("select frame_id from staging.frames").fetchall()} == good


def test_the_documentation_is_one_page_with_every_unit(settings: Settings) -> None:
    page = docs(settings).read_text()
    assert "vapour-pressure deficit of the minute" in page
    assert "training_water_flow" in page
