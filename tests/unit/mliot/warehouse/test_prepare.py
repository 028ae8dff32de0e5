"""What is generated for dbt from the declarations, and what a wrong declaration is told."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from mliot.errors import DeclarationError
from mliot.measurements import Measurement, load_measurements
from mliot.settings import Settings
from mliot.usecase import Label, Linear, UseCase, load_use_cases
from mliot.warehouse.columns import load_columns
from mliot.warehouse.prepare import PROJECT, generated_files, prepare, project_files

COLUMNS = load_columns(PROJECT / "columns.yaml")
MEASUREMENTS = load_measurements()


def case(**changes: object) -> UseCase:
    declared = {
        "name": "comfort",
        "title": "Comfort",
        "kind": "number",
        "features": "features_place_1m",
        "columns": ("temperature_avg",),
        "label": Label(measurement="humidity"),
        "candidates": (Linear(),),
    }
    return UseCase(**{**declared, **changes})  # type: ignore[arg-type]


def test_a_measurement_more_is_documented_and_tested_in_every_model() -> None:
    more = {**MEASUREMENTS, "noise": Measurement(unit="dB", range=(0, 200), about="sound level")}
    models = {model["name"]: model for model in yaml.safe_load(generated_files(COLUMNS, more, [])["models.yml"])["models"]}
    columns = {column["name"]: column for column in models["features_place_1m"]["columns"]}
    assert columns["noise_max"]["description"] == "highest sound level"
    assert columns["noise_max"]["config"]["meta"]["unit"] == "dB"
    assert columns["noise_count"]["config"]["meta"]["unit"] == "frames"
    ranges = [
        test["statistics_plausible"]["arguments"]["ranges"]
        for test in models["windows_sensor_1m"]["data_tests"]
        if "statistics_plausible" in test
    ]
    assert ranges[0]["noise"] == [0, 200]
    assert "noise" in {column["name"] for column in models["frames"]["columns"]}


def test_a_use_case_gets_a_model_with_its_arguments() -> None:
    files = generated_files(COLUMNS, MEASUREMENTS, load_use_cases().values())
    assert set(files) == {"models.yml", "training_fan_speed.sql", "training_water_flow.sql"}
    assert 'labels="windows_sensor_1m"' in files["training_fan_speed.sql"]
    assert "arrives_after_ms=600000" in files["training_fan_speed.sql"]
    assert "label_key=none" in files["training_water_flow.sql"]
    assert "horizon_ms=3600000" in files["training_water_flow.sql"]


def test_a_label_that_no_window_holds_is_the_one_that_arrives() -> None:
    (name, *_) = generated = generated_files(
        COLUMNS, MEASUREMENTS, [case(features="features_sensor_frame", columns=("temperature",), label=Label())]
    )
    assert "labels=none" in generated[name]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"features": "features_place_1d"}, "use case comfort: features: no model 'features_place_1d'; there are features_sensor_frame"),
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
            "label.sensor: would need windows_sensor_1h",
        ),
        (
            {"label": Label(measurement="humidity", horizon=timedelta(seconds=90))},
            "label.horizon: 0:01:30 is not a whole number of windows of 1m",
        ),
        ({"places": "(?!room).*"}, "places: .* is not a pattern that DuckDB knows"),
    ],
)
def test_a_wrong_use_case_is_named_with_what_is_allowed(changes: dict[str, object], told: str) -> None:
    with pytest.raises(DeclarationError, match=told.replace("(", r"\(")) as error:
        generated_files(COLUMNS, MEASUREMENTS, [case(**changes)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["device", "first", "dew_point"])
def test_a_measurement_that_would_make_a_column_twice_is_refused(name: str) -> None:
    more = {**MEASUREMENTS, name: Measurement(unit="1", range=(0, 1))}
    with pytest.raises(DeclarationError, match=r"the column '\w+' twice; rename the measurement"):
        generated_files(COLUMNS, more, [])


def test_the_working_project_follows_and_leaves_what_did_not_change_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    folder = prepare(settings)
    (folder / "models" / "generated" / "training_gone.sql").write_text("select 1")
    kept = folder / "models" / "generated" / "models.yml"
    before = kept.stat().st_mtime_ns
    assert prepare(settings) == folder
    assert kept.stat().st_mtime_ns == before
    assert not (folder / "models" / "generated" / "training_gone.sql").exists()
    assert {str(path.relative_to(PROJECT)) for path in project_files()} <= {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_nothing_makes_the_project_a_package() -> None:
    """With an ``__init__.py`` the folder would hide dbt itself."""
    assert list(PROJECT.rglob("__init__.py")) == []


def test_a_column_without_a_unit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "columns.yaml"
    path.write_text("groups: {}\nmodels: {frames: {about: x, fixed: [{id: {about: x}}], each_measurement: reading}}")
    with pytest.raises(DeclarationError, match=r"columns.yaml: models\.frames\.fixed\.0\.id\.unit: Field required"):
        load_columns(path)
