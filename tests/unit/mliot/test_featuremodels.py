"""The stream's view of dbt's manifest: order, versions, and what a manifest that cannot be used is told."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mliot.errors import DeclarationError
from mliot.featuremodels import RAW_COLUMNS, create_stream_schema, load_feature_models, read_feature_models

STAGING = 'select key as frame_id, kafka_ms as event_ms from "warehouse"."raw"."frame"'
FRAMES = 'select distinct * from "warehouse"."staging"."stg_frames"'
ROW = "'place_1m' as grain, 'k' as key, 'k' as place_id, 0::bigint as start_ms, 60000::bigint as end_ms"
COUNTED = "count(*) as frames, '' as first, '' as last"
WINDOWS = f"""select 'w' as window_id, {ROW}, {COUNTED}, 1.5::double as x_avg from "warehouse"."staging"."frames" """
FEATURES = """select window_id as feature_id, 'f' as model, * exclude (window_id), x_avg * 2 as x_twice from "warehouse"."features"."w" """
META = {"grain": "place_1m", "window_s": 60, "lookback_s": 900}


def node(name: str, schema: str, sql: str, parents: list[str], meta: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "schema": schema,
        "relation_name": f'"warehouse"."{schema}"."{name}"',
        "compiled_code": sql,
        "config": {"meta": meta or {}},
        "depends_on": {"nodes": parents},
    }


def manifest(**sql: str) -> dict[str, Any]:
    nodes = [
        node("f", "features", sql.get("f", FEATURES), ["model.mliot.w"], {**META, "kind": "feature", "source": "w"}),
        node("w", "features", sql.get("w", WINDOWS), ["model.mliot.frames"], {**META, "kind": "window", "source": "frames"}),
        node("frames", "staging", sql.get("frames", FRAMES), ["model.mliot.stg_frames"]),
        node("stg_frames", "staging", sql.get("stg_frames", STAGING), ["source.mliot.raw.frame"]),
    ]
    return {f"model.mliot.{each['name']}": each for each in nodes}


def test_a_model_carries_what_the_stream_must_know() -> None:
    models = read_feature_models(manifest())
    assert (models.staging_sql, models.frames_sql) == (STAGING, FRAMES)
    window, feature = models.window("place_1m"), models.feature("f")
    assert (window.relation, window.window_ms, window.columns) == ('"warehouse"."features"."w"', 60_000, ("x_avg",))
    assert (feature.grain, feature.lookback_ms, feature.source, feature.columns) == ("place_1m", 900_000, "w", ("x_avg", "x_twice"))


@pytest.mark.parametrize(
    ("changed", "moved"),
    [("f", {"f"}), ("w", {"f", "w"}), ("frames", {"f", "w"}), ("stg_frames", {"f", "w"})],
)
def test_a_version_moves_with_the_sql_of_every_model_that_is_read(changed: str, moved: set[str]) -> None:
    sql = {"f": FEATURES, "w": WINDOWS, "frames": FRAMES, "stg_frames": STAGING}

    def versions(nodes: dict[str, Any]) -> dict[str, str]:
        models = read_feature_models(nodes)
        return {model.name: model.version for model in (*models.windows, *models.features)}

    before, after = versions(manifest()), versions(manifest(**{changed: f"{sql[changed]} limit 5"}))
    assert {name for name in before if before[name] != after[name]} == moved
    assert versions(manifest(**{changed: sql[changed].replace(" ", "\n  ")})) == before, "layout is no change"
    assert all(len(version) == 12 for version in before.values())


def test_the_stream_schema_runs_the_sql_unchanged() -> None:
    models = read_feature_models(manifest())
    with duckdb.connect() as con:
        create_stream_schema(con, models)
        con.execute(f"insert into \"warehouse\".\"raw\".\"frame\" ({', '.join(RAW_COLUMNS)}) values ('t', 0, 0, 5, 'a', '{{}}', null)")
        con.execute(f'insert into "warehouse"."staging"."stg_frames" {models.staging_sql}').fetchall()
        con.execute(f"insert into {models.windows[0].relation} {models.windows[0].sql}").fetchall()
        ((frames, twice),) = con.execute(f"select frames, x_twice from ({models.features[0].sql})").fetchall()
    assert (frames, twice) == (1, 3.0)


def test_a_manifest_that_is_not_there_or_broken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(DeclarationError, match=r"manifest\.json: cannot be read: No such file"):
        load_feature_models(path)
    path.write_text("{")
    with pytest.raises(DeclarationError, match=r"manifest\.json: is not JSON"):
        load_feature_models(path)
    path.write_text(json.dumps({"nodes": manifest()}))
    assert load_feature_models(path).features[0].name == "f"


def test_models_that_cannot_be_used_are_named() -> None:
    nodes = manifest()
    nodes["model.mliot.w"]["compiled_code"] = ""
    with pytest.raises(DeclarationError, match="dbt model w is not compiled"):
        read_feature_models(nodes)
    nodes = manifest()
    del nodes["model.mliot.w"]["config"]["meta"]["lookback_s"]
    with pytest.raises(DeclarationError, match="dbt model w: config meta lacks lookback_s"):
        read_feature_models(nodes)
    nodes = manifest()
    del nodes["model.mliot.frames"]
    with pytest.raises(DeclarationError, match="dbt model frames is missing in the manifest; it holds f, stg_frames, w"):
        read_feature_models(nodes)
    with pytest.raises(DeclarationError, match="dbt model w: must begin with the columns window_id, grain"):
        read_feature_models(manifest(w=WINDOWS.replace("window_id", "id")))
    models = read_feature_models(manifest())
    with pytest.raises(DeclarationError, match="no feature model 'g'; there are f"):
        models.feature("g")
    with pytest.raises(DeclarationError, match="no windows of grain 'place_1h'; there are place_1m"):
        models.window("place_1h")
