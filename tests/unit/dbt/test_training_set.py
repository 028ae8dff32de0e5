"""Training sets as dbt builds them, a use case of the user's among them, judged by plain loops over the naive twin's rows."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.messages import Feature, Label
from mliot.settings import Settings
from mliot.usecase import UseCase
from tests.unit.dbt.generated import generated_frames, raw_rows
from tests.unit.dbt.naive import Comparison, Row, Rows, compare, naive_models
from usecases import load_use_cases
from warehouse.access import open_warehouse
from warehouse.dbt import BuildReport, build
from warehouse.raw import create_raw_tables

THIRD = """
from datetime import timedelta
from mliot.usecase import Label, Linear, UseCase

WARMTH = UseCase(
    name="warmth", title="Temperature in five minutes", kind="regression", unit="°C", features="features_sensor_1m",
    columns=("temperature_avg", "temperature_slope", "co2_avg"), places="room-[01]",
    label=Label(measurement="temperature", statistic="max", horizon=timedelta(minutes=5), arrives_after=timedelta(seconds=30)),
    candidates=(Linear(),),
)
COMFORT = UseCase(
    name="comfort", title="Comfort as people say", kind="classification", classes=(1, 2, 3), features="features_sensor_frame",
    columns=("temperature", "dew_point"), label=Label(), candidates=(Linear(),),
)
"""
FRAMES = generated_frames()
NOW_MS = max(frame.event_ms for frame in FRAMES) + 40
"""When the last frame arrived."""


@dataclass
class Built:
    """What a build is judged by."""

    settings: Settings
    report: BuildReport
    models: dict[str, Rows]
    served: dict[str, dict[str, float]]
    arrived: dict[tuple[str, str], Label]


@pytest.fixture(scope="module")
def use_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usecases")
    (folder / "warmth.py").write_text(THIRD)
    return folder


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, use_cases: Path, models: FeatureModels, compiled_settings: Callable[..., Settings]
) -> Built:
    settings = compiled_settings(home=tmp_path_factory.mktemp("home"), usecases=use_cases)
    model = models.feature("features_place_1m")
    batch = naive_models(FRAMES, load_measurements())
    rooms = sorted(row_id for row_id, row in batch[model.name].items() if row["place_id"] == "000000000")
    served = {row_id: {"temperature_avg": 99.0, "humidity_max": 1.5} for row_id in rooms[5:20]}
    arrived = {("fan_speed", row_id): _label("fan_speed", batch[model.name][row_id]) for row_id in rooms[10:13]}
    frames = sorted(batch["features_sensor_frame"])[::3]
    arrived |= {("comfort", row_id): _label("comfort", batch["features_sensor_frame"][row_id]) for row_id in frames}
    messages = [_feature(batch[model.name][row_id], values, model.version) for row_id, values in served.items()]
    messages += [_feature(batch[model.name][row_id], {"temperature_avg": -1.0}, "older") for row_id in rooms[:8]]
    with open_warehouse(settings, "write") as con:
        create_raw_tables(con)
        con.executemany("insert into raw.frame values (?, ?, ?, ?, ?, ?, ?)", [list(row) for row in raw_rows(FRAMES)])
        for table, values in (("feature", messages), ("label", list(arrived.values()))):
            for offset, message in enumerate(values):
                con.execute(
                    f"insert into raw.{table} values (?, 0, ?, 0, 'k', ?, null)", [message.topic_name, offset, message.encode().decode()]
                )
    return Built(
        settings,
        build(settings, select="+training_fan_speed +training_water_flow +training_warmth +training_comfort"),
        batch,
        served,
        arrived,
    )


@pytest.mark.parametrize(("name", "least"), [("fan_speed", 60), ("water_flow", 50), ("warmth", 200), ("comfort", 200)])
def test_a_training_set_is_the_twins(built: Built, name: str, least: int) -> None:
    use_case = load_use_cases(built.settings.usecases)[name]
    with open_warehouse(built.settings) as con:
        cursor = con.execute(f"from training.training_{name}")
        columns = [column[0] for column in cursor.description or ()]
        found = {row[0]: dict(zip(columns, row, strict=True)) for row in cursor.fetchall()}
    comparison = compare(name, naive_training(built, use_case), found, Comparison())
    assert comparison.differ == []
    assert len(found) >= least
    assert sum(row["baseline"] is not None for row in found.values()) >= least // 2
    if name == "fan_speed":
        served = {row_id for row_id, row in found.items() if row["served"]}
        assert served
        assert served <= built.served.keys()
        assert {row["label"] for row_id, row in found.items() if ("fan_speed", row_id) in built.arrived} == {3.0}


def test_every_test_of_a_training_set_ran(built: Built) -> None:
    ran = {node.name for node in built.report.nodes if node.kind == "test" and node.status == "pass"}
    assert {"training_fan_speed_accepted_values", "training_warmth_feature_id_unique", "training_water_flow_label_after_features"} <= ran


def test_columns_of_a_training_set_are_documented(built: Built) -> None:
    manifest = json.loads((built.settings.dbt_path / "target" / "manifest.json").read_text())
    node = manifest["nodes"]["model.mliot.training_warmth"]
    assert node["config"]["meta"] == {"kind": "training", "use_case": "warmth"}
    assert list(node["columns"])[-5:] == ["served", "baseline", "temperature_avg", "temperature_slope", "co2_avg"]
    assert node["columns"]["label"]["config"]["meta"]["unit"] == "°C"
    assert all(column["description"] for column in node["columns"].values())


def naive_training(built: Built, use_case: UseCase) -> Rows:
    """The training set in loops: labels looked up by place and start, the baseline searched among all that was known."""
    by_start: dict[tuple[object, object], Row] = {}
    if use_case.label.column:
        labels = built.models["windows_" + ("sensor" if use_case.label.sensor else "place") + use_case.features[-3:]]
        by_start = {
            (row["place_id"], row["start_ms"]): row
            for row in labels.values()
            if use_case.label.sensor is None or row["key"] == use_case.label.sensor
        }
    rows: Rows = {}
    for row_id, feature in built.models[use_case.features].items():
        if not re.fullmatch(use_case.places, str(feature["place_id"])):
            continue
        start = feature["start_ms"]
        assert isinstance(start, int)
        label = by_start.get((feature["place_id"], start + use_case.label.horizon_ms), {})
        value, label_ms = label.get(use_case.label.column or ""), label.get("end_ms")
        available_ms = label_ms + use_case.label.arrives_after_ms if isinstance(label_ms, int) else None
        if arrived := built.arrived.get((use_case.name, row_id)):
            value, label_ms, available_ms = arrived.value, arrived.label_ms, arrived.available_ms
        if value is None or available_ms is None or available_ms > NOW_MS:
            continue
        served = built.served.get(row_id) if use_case.features == "features_place_1m" else None
        values = feature if served is None else served
        rows[row_id] = {
            "feature_id": row_id,
            **{name: feature[name] for name in ("key", "place_id", "start_ms", "end_ms")},
            "label_ms": label_ms,
            "available_ms": available_ms,
            "label": value,
            "served": served is not None,
            **{name: values.get(name) for name in use_case.columns},
        }
    return {row_id: {**row, "baseline": _baseline(row, rows)} for row_id, row in rows.items()}


def _baseline(row: Row, rows: Rows) -> object:
    known = [other for other in rows.values() if other["key"] == row["key"] and other["available_ms"] <= row["end_ms"]]  # type: ignore[operator]
    return max(known, key=lambda other: (other["available_ms"], other["label_ms"]))["label"] if known else None


def _feature(row: Row, values: dict[str, float], version: str) -> Feature:
    fixed = {
        name: row[name] for name in ("feature_id", "model", "grain", "key", "place_id", "start_ms", "end_ms", "frames", "first", "last")
    }
    return Feature(**fixed, version=version, made_ms=1, values=values)  # type: ignore[arg-type]


def _label(use_case: str, row: Row) -> Label:
    end = row["end_ms"]
    assert isinstance(end, int)
    return Label(
        use_case=use_case,
        feature_id=str(row["feature_id"]),
        key=str(row["key"]),
        place_id=str(row["place_id"]),
        label_ms=end,
        available_ms=end + 1,
        value=3.0,
    )
