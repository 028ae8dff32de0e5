"""The endpoint's OpenAPI description: what BentoML says of its routes, plus every use case's columns with their units. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mliot.usecase import UseCase
from serving.schema import EndpointHealth, ModelState, PredictEntityRequest, PredictEntityResponse, PredictRequest, PredictResponse, Problem
from warehouse.columns import Entry

_REF = "#/components/schemas/"
_MODELS: tuple[type[BaseModel], ...] = (
    PredictRequest,
    PredictResponse,
    PredictEntityRequest,
    PredictEntityResponse,
    ModelState,
    EndpointHealth,
    Problem,
)
_DIMENSIONLESS = "1"
REFERENCE_PLACE = "000000000"

Json = dict[str, Any]


def document(
    use_cases: Mapping[str, UseCase], columns: Mapping[str, Mapping[str, Entry]], typical: Mapping[str, Mapping[str, float | None]]
) -> Json:
    """An OpenAPI 3.1 document.

    ``columns`` are those of each feature model; ``typical`` is a row that each use case with a champion can be tried with.
    """
    rows = {row_name(use_case): row_schema(use_case, columns.get(use_case.features, {})) for use_case in use_cases.values()}
    _, definitions = models_json_schema([(model, "validation") for model in _MODELS], ref_template=_REF + "{model}")
    schemas: Json = {**rows, **definitions["$defs"]}
    if rows:
        schemas["PredictRequest"]["properties"]["rows"]["items"] = {"oneOf": [{"$ref": _REF + name} for name in rows]}
    for request in ("PredictRequest", "PredictEntityRequest"):
        schemas[request]["properties"]["use_case"]["enum"] = list(use_cases)
    return {
        "openapi": "3.1.0",
        "info": {"title": "MLIoT prediction endpoint", "version": "1", "description": _about(use_cases.values(), columns)},
        "tags": [
            {"name": "Predictions", "description": "Answers name the model's version; a model is swapped without dropping a request."},
            {"name": "Models", "description": "Who answers now."},
            {"name": "Health", "description": "For supervisors and Prometheus."},
        ],
        "paths": _paths(use_cases.values(), typical),
        "components": {"schemas": schemas},
    }


def row_name(use_case: UseCase) -> str:
    """The name of the use case's row schema, such as ``FanSpeedRow``."""
    return "".join(part.capitalize() for part in use_case.name.split("_")) + "Row"


def row_schema(use_case: UseCase, columns: Mapping[str, Entry]) -> Json:
    """The schema of one row of ``use_case``: each column is a number or null, and says its unit."""
    return {
        "type": "object",
        "description": f"One row of {use_case.name}: columns of {use_case.features}.",
        "additionalProperties": False,
        "required": list(use_case.columns),
        "properties": {column: _reading(columns.get(column)) for column in use_case.columns},
    }


def _reading(column: Entry | None) -> Json:
    reading: Json = {"type": ["number", "null"]}
    if column is not None:
        reading["description"] = column.about if column.unit == _DIMENSIONLESS else f"{column.about}, in {column.unit}"
        reading["x-unit"] = column.unit
    return reading


def _about(use_cases: Iterable[UseCase], columns: Mapping[str, Mapping[str, Entry]]) -> str:
    """The page's introduction in Markdown: each use case with what it predicts and what its rows hold."""
    parts = ['A request that cannot be answered gets `{"error", "field"}`: what is wrong, and the part at fault.']
    for use_case in use_cases:
        unit = f" ({use_case.unit})" if use_case.unit else ""
        among = f": one of {', '.join(map(str, use_case.classes))}" if use_case.classes else ""
        parts.append(f"### {use_case.name}")
        parts.append(f"{use_case.title}{unit}{among}. For places that match `{use_case.places}`; its rows come from `{use_case.features}`.")
        described = columns.get(use_case.features, {})
        cells = ((column, described.get(column)) for column in use_case.columns)
        lines = [f"| `{column}` | {entry.unit if entry else ''} | {entry.about if entry else ''} |" for column, entry in cells]
        parts.append("\n".join(["| column | unit | what it is |", "|---|---|---|", *lines]))
    return "\n\n".join(parts)


def _paths(use_cases: Iterable[UseCase], typical: Mapping[str, Mapping[str, float | None]]) -> Json:
    rows: Json = {}
    entities: Json = {}
    for use_case in use_cases:
        row = typical.get(use_case.name, dict.fromkeys(use_case.columns))
        rows[use_case.name] = {"summary": use_case.title, "value": {"use_case": use_case.name, "rows": [row]}}
        place = REFERENCE_PLACE if use_case.serves(REFERENCE_PLACE) else "<place>"
        entities[use_case.name] = {"summary": use_case.title, "value": {"use_case": use_case.name, "place_id": place}}
    return {
        "/predict": _post("Score feature rows: one or many, all by one model version", "PredictRequest", "PredictResponse", rows),
        "/predict_entity": _post(
            "Score the newest features of a place, and say how old they are", "PredictEntityRequest", "PredictEntityResponse", entities
        ),
        "/models": _get(
            "Models", "The models that answer now, and why where none does", {"type": "array", "items": {"$ref": _REF + "ModelState"}}
        ),
        "/health": _get("Health", "How it is, and what of the model store cannot be read", {"$ref": _REF + "EndpointHealth"}),
        "/readyz": _get("Health", "200 once requests are answered"),
        "/livez": _get("Health", "200 while the process lives"),
        "/metrics": _get("Health", "Requests, latencies, rows and models, in Prometheus' text format"),
    }


def _post(summary: str, request: str, response: str, examples: Json) -> Json:
    problem = {"application/json": {"schema": {"$ref": _REF + "Problem"}}}
    return {
        "post": {
            "tags": ["Predictions"],
            "summary": summary,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": _REF + request}, "examples": examples}},
            },
            "responses": {
                "200": {"description": "The answers", "content": {"application/json": {"schema": {"$ref": _REF + response}}}},
                "404": {"description": "No such use case, or no features of that place yet", "content": problem},
                "411": {"description": "Content-Length is missing", "content": problem},
                "413": {"description": "The body is too large", "content": problem},
                "415": {"description": "The body is not application/json", "content": problem},
                "422": {"description": "The request cannot be scored; `field` names the part at fault", "content": problem},
                "500": {"description": "The model fails on these rows", "content": problem},
                "503": {"description": "No champion yet, or the store is away; the same request may succeed later", "content": problem},
            },
        }
    }


def _get(tag: str, summary: str, schema: Json | None = None) -> Json:
    content = {"content": {"application/json": {"schema": schema}}} if schema else {}
    return {"get": {"tags": [tag], "summary": summary, "responses": {"200": {"description": "OK", **content}}}}
