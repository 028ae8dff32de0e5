"""What is generated for dbt from the declarations, and what a wrong declaration is told."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from mliot.errors import DeclarationError
from mliot.featuremodels import FeatureModels
from mliot.measurements import Measurement, load_measurements
from mliot.settings import Settings
from mliot.usecase import Label, Linear, UseCase
from usecases import load_use_cases
from warehouse.columns import load_columns
from warehouse.dbt import ready
from warehouse.prepare import PROJECT, declared_files, generated_files, project_files, working_project

COLUMNS = load_columns(PROJECT / "columns.yaml")
MEASUREMENTS = load_measurements()


def case(**changes: object) -> UseCase:
    declared = {
        "name": "comfort",
        "title": "Comfort",
        "kind": "regression",
        "features": "features_place_1m",
        "columns": ("temperature_avg",),
        "label": Label(measurement="humidity"),
        "candidates": (Linear(),),
    }
    return UseCase(**{**declared, **changes})  # type: ignore[arg-type]


def test_a_measurement_more_is_documented_and_tested_in_every_model(models: FeatureModels) -> None:
    more = {**MEASUREMENTS, "noise": Measurement(unit="dB", range=(0, 200), about="sound level")}
    schemas = {model["name"]: model for model in yaml.safe_load(generated_files(COLUMNS, models, more, [])["models.yml"])["models"]}
    columns = {column["name"]: column for column in schemas["features_place_1m"]["columns"]}
    assert columns["noise_max"]["description"] == "highest sound level"
    assert columns["noise_max"]["config"]["meta"]["unit"] == "dB"
    assert columns["noise_count"]["config"]["meta"]["unit"] == "frames"
    ranges = [
        test["statistics_plausible"]["arguments"]["ranges"]
        for test in schemas["windows_sensor_1m"]["data_tests"]
        if "statistics_plausible" in test
    ]
    assert ranges[0]["noise"] == [0, 200]
    assert "noise" in {column["name"] for column in schemas["frames"]["columns"]}


def test_a_use_case_gets_a_model_with_its_arguments(models: FeatureModels) -> None:
    files = generated_files(COLUMNS, models, MEASUREMENTS, load_use_cases().values())
    assert set(files) == {"models.yml", "training_fan_speed.sql", "training_water_flow.sql"}
    assert 'labels="windows_sensor_1m"' in files["training_fan_speed.sql"]
    assert "arrives_after_ms=600000" in files["training_fan_speed.sql"]
    assert "label_key=none" in files["training_water_flow.sql"]
    assert "horizon_ms=3600000" in files["training_water_flow.sql"]


def test_a_label_that_no_window_holds_is_the_one_that_arrives(models: FeatureModels) -> None:
    (name, *_) = generated = generated_files(
        COLUMNS, models, MEASUREMENTS, [case(features="features_sensor_frame", columns=("temperature",), label=Label())]
    )
    assert "labels=none" in generated[name]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"features": "features_place_1d"},
            "use case comfort: features: no model 'features_place_1d'; there are features_place_1h",
        ),
        ({"features": "windows_place_1m"}, "use case comfort: features: no model 'windows_place_1m'"),
        ({"columns": ("temperatur_avg",)}, "columns: features_place_1m has no column 'temperatur_avg'; did you mean temperature_avg"),
        ({"columns": ("place_id",)}, "has no column 'place_id'"),
        ({"label": Label(measurement="noise")}, "label.measurement: 'noise' is not known; known are temperature, humidity"),
        (
            {"features": "features_sensor_frame", "columns": ("temperature",)},
            "label.measurement: features_sensor_frame has no windows to take a label from",
        ),
        (
            {"features": "features_place_1h", "label": Label(measurement="humidity", sensor="a")},
            "label.sensor: there are no windows of devices of one hour; there are windows_place_1h (hour), windows_place_1m (minute)",
        ),
        (
            {"label": Label(measurement="humidity", horizon=timedelta(seconds=90))},
            "label.horizon: 0:01:30 is not a whole number of windows of one minute",
        ),
        ({"places": "(?!room).*"}, "places: .* is not a pattern that DuckDB knows"),
    ],
)
def test_a_wrong_use_case_is_named_with_what_is_allowed(models: FeatureModels, changes: dict[str, object], told: str) -> None:
    with pytest.raises(DeclarationError, match=re.sub(r"([()])", r"\\\1", told)) as error:
        generated_files(COLUMNS, models, MEASUREMENTS, [case(**changes)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["device", "first", "dew_point"])
def test_a_measurement_that_would_make_a_column_twice_is_refused(models: FeatureModels, name: str) -> None:
    more = {**MEASUREMENTS, name: Measurement(unit="1", range=(0, 1))}
    with pytest.raises(DeclarationError, match=r"the column '\w+' twice; rename the measurement"):
        generated_files(COLUMNS, models, more, [])


def test_the_working_project_follows_and_leaves_what_did_not_change_alone(
    tmp_path: Path, compiled_settings: Callable[..., Settings]
) -> None:
    settings = compiled_settings(home=tmp_path)
    ready(settings)
    folder = working_project(settings)
    (folder / "models" / "generated" / "training_gone.sql").write_text("select 1")
    kept = folder / "models" / "generated" / "models.yml"
    before = kept.stat().st_mtime_ns
    ready(settings)
    assert kept.stat().st_mtime_ns == before
    assert not (folder / "models" / "generated" / "training_gone.sql").exists()
    assert project_files(PROJECT).keys() <= project_files(folder).keys()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("windows_place_1m", r"windows_place_1m\.sql: a model named windows_place_1m is built in already"),
        ("5m", r"5m\.sql: a model's name may hold small letters, digits and _, and begins with a letter"),
    ],
)
def test_a_model_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / f"{name}.sql").write_text("select 1")
    with pytest.raises(DeclarationError, match=told):
        declared_files(tmp_path)
    with pytest.raises(DeclarationError, match=r"nowhere: is not a folder of dbt models \(MLIOT_FEATURES\)"):
        declared_files(tmp_path / "nowhere")


def test_nothing_makes_the_project_a_package() -> None:
    """With an ``__init__.py`` the folder would hide dbt itself."""
    assert list(PROJECT.rglob("__init__.py")) == []


def test_a_column_without_a_unit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "columns.yaml"
    path.write_text("groups: {}\nkinds: {}\nmodels: {frames: {about: x, fixed: [{id: {about: x}}], each_measurement: reading}}")
    with pytest.raises(DeclarationError, match=r"columns.yaml: models\.frames\.fixed\.0\.id\.unit: is missing"):
        load_columns(path)
