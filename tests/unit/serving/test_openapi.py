"""The description of the endpoint: every route, every use case's columns with their units."""

import pytest

from learning.answers import MAX_ROWS
from mliot.measurements import load_measurements
from serving.openapi import document, row_schema
from usecases import load_use_cases
from warehouse.columns import load_columns
from warehouse.prepare import PROJECT

USE_CASES = load_use_cases()


@pytest.fixture(scope="module")
def columns() -> dict[str, dict[str, object]]:
    file = load_columns(PROJECT / "columns.yaml")
    return {model: file.columns(model, load_measurements()) for model in ("features_place_1m", "features_place_1h")}


def test_every_declared_column_says_its_unit(columns) -> None:
    schemas = document(USE_CASES, columns, {})["components"]["schemas"]
    fan, flow = schemas["FanSpeedRow"]["properties"], schemas["WaterFlowRow"]["properties"]
    assert tuple(fan) == USE_CASES["fan_speed"].columns
    assert fan["temperature_avg"] == {"type": ["number", "null"], "description": "mean air temperature, in °C", "x-unit": "°C"}
    assert fan["pressure_avg"]["x-unit"] == "Pa"
    assert flow["water_flow_avg"]["x-unit"] == "L/s"
    assert all("x-unit" in column for properties in (fan, flow) for column in properties.values())


def test_rows_are_those_of_the_use_cases(columns) -> None:
    request = document(USE_CASES, columns, {})["components"]["schemas"]["PredictRequest"]["properties"]
    assert request["use_case"]["enum"] == ["fan_speed", "water_flow"]
    assert request["rows"]["items"] == {
        "oneOf": [{"$ref": "#/components/schemas/FanSpeedRow"}, {"$ref": "#/components/schemas/WaterFlowRow"}]
    }
    assert request["rows"]["maxItems"] == MAX_ROWS


def test_examples_are_the_typical_rows(columns) -> None:
    typical = {"fan_speed": {"temperature_avg": 24.5}}
    content = document(USE_CASES, columns, typical)["paths"]["/predict"]["post"]["requestBody"]["content"]
    examples = content["application/json"]["examples"]
    assert examples["fan_speed"]["value"] == {"use_case": "fan_speed", "rows": [{"temperature_avg": 24.5}]}
    assert set(examples["water_flow"]["value"]["rows"][0]) == set(USE_CASES["water_flow"].columns)


def test_references_lead_somewhere(columns) -> None:
    whole = document(USE_CASES, columns, {})
    found = []

    def walk(part: object) -> None:
        if isinstance(part, dict):
            found.extend([part["$ref"]] if "$ref" in part else [])
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(whole)
    assert found
    assert {reference.removeprefix("#/components/schemas/") for reference in found} <= set(whole["components"]["schemas"])


def test_an_unknown_column_is_still_described() -> None:
    schema = row_schema(USE_CASES["fan_speed"], {})
    assert schema["properties"]["temperature_avg"] == {"type": ["number", "null"]}
    assert document({}, {}, {})["components"]["schemas"]["PredictRequest"]["properties"]["use_case"]["enum"] == []


def test_the_introduction_shows_units_and_kinds(columns) -> None:
    text = document(USE_CASES, columns, {})["info"]["description"]
    assert "Fan speed (level): one of 0, 1, 2, 3." in text
    assert "| `temperature_avg` | °C | mean air temperature |" in text
    assert "Water flow, next hour (L/s)." in text
