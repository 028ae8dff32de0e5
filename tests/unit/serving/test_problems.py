"""BentoML's error answers in our words."""

import json

import pytest

from serving.problems import place_of, reworded


def detail(kind: str, *location: str | int, message: str = "Some words") -> bytes:
    return json.dumps({"error": "1 validation error", "detail": [{"type": kind, "loc": location, "msg": message}]}).encode()


@pytest.mark.parametrize(
    ("body", "error", "field"),
    [
        (detail("missing", "use_case"), "use_case: is missing", "use_case"),
        (detail("extra_forbidden", "usecase"), "usecase: is not known here", "usecase"),
        (detail("float_type", "rows", 3, "humidity_avg"), "rows[3].humidity_avg: must be a number or null", "rows[3].humidity_avg"),
        (detail("finite_number", "rows", 0, "a"), "rows[0].a: must be finite; null is a missing reading", "rows[0].a"),
        (detail("json_invalid", message="Invalid JSON: expected value at line 1"), "body: is not JSON: expected value at line 1", None),
        (detail("too_short", "rows"), "rows: some words", "rows"),
    ],
)
def test_a_validation_error_names_its_field(body: bytes, error: str, field: str | None) -> None:
    problem = reworded(400, body)
    assert (problem.status, str(problem), problem.field) == (422, error, field)


def test_further_errors_are_counted() -> None:
    entries = [{"type": "missing", "loc": [name], "msg": ""} for name in ("use_case", "rows")]
    assert str(reworded(400, json.dumps({"detail": entries}).encode())) == "use_case: is missing (and 1 more)"


def test_our_own_answer_stays() -> None:
    problem = reworded(503, b'{"error": "no champion", "field": "use_case"}')
    assert (problem.status, str(problem), problem.field) == (503, "no champion", "use_case")


@pytest.mark.parametrize("body", [b"", b"Not Found", b"[]", b'"x"', b'[{"error": "x"}]', b"\xff"])
def test_anything_else_keeps_its_status_and_becomes_an_error(body: bytes) -> None:
    problem = reworded(404, body)
    assert problem.status == 404
    assert str(problem)


def test_place_of() -> None:
    assert place_of(()) == ""
    assert place_of(("rows", 3, "temperature_avg")) == "rows[3].temperature_avg"
