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
WINDOW = {"kind": "window", "grain": "place_1m", "key": ["place_id"], "window_s": 60, "lookback_s": 0, "source": "frames"}
FEATURE = {"kind": "feature", "lookback_s": 900, "source": "w"}


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
        node("f", "features", sql.get("f", FEATURES), ["model.mliot.w"], {**FEATURE}),
        node("w", "features", sql.get("w", WINDOWS), ["model.mliot.frames"], {**WINDOW}),
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


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("w", {"grain": "5 minutes"}, "dbt model w: grain '5 minutes' may hold small letters"),
        ("w", {"key": "place_id"}, r"dbt model w: key 'place_id' must be one of \['place_id'\], \['device'\]"),
        ("w", {"key": ["room"]}, r"dbt model w: key \['room'\] must be one of"),
        ("w", {"window_s": 0}, "dbt model w: window_s 0 must be a whole number of seconds, 1 or more"),
        ("w", {"window_s": 1.5}, "dbt model w: window_s 1.5 must be a whole number"),
        ("f", {"source": "windows"}, "dbt model f: source 'windows' must be frames or one of w"),
        ("f", {"source": "frames"}, "dbt model f: config meta lacks grain"),
    ],
)
def test_a_grain_that_cannot_be_is_named_with_what_is_allowed(model: str, changes: dict[str, Any], told: str) -> None:
    nodes = manifest()
    nodes[f"model.mliot.{model}"]["config"]["meta"] |= changes
    with pytest.raises(DeclarationError, match=told) as error:
        read_feature_models(nodes)
    assert "\n" not in str(error.value)


def test_two_models_of_one_grain_are_refused_since_their_rows_would_have_the_same_ids() -> None:
    nodes = manifest()
    nodes["model.mliot.v"] = {**nodes["model.mliot.w"], "name": "v", "relation_name": '"warehouse"."features"."v"'}
    with pytest.raises(DeclarationError, match="dbt models v and w are both of grain place_1m; a grain has one of each kind"):
        read_feature_models(nodes)


def test_every_length_is_a_multiple_of_the_shortest() -> None:
    nodes = manifest()
    other = {**nodes["model.mliot.w"], "name": "v", "relation_name": '"warehouse"."features"."v"'}
    other["config"] = {"meta": {**WINDOW, "grain": "place_90s", "window_s": 90}}
    nodes["model.mliot.v"] = other
    with pytest.raises(DeclarationError, match="dbt model v: window_s must be a multiple of the shortest, 60 s; 90 is none"):
        read_feature_models(nodes)
