"""The endpoint against its own OpenAPI description (schemathesis): it takes what it says it takes, all else is 4xx naming the field."""

import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.integration.test_serving import Server, insert_feature, put_in_charge, server
from usecases import load_use_cases

__all__ = ["server"]
pytestmark = pytest.mark.stack
EXAMPLES = 120
FLOW, FAN = load_use_cases()["water_flow"], load_use_cases()["fan_speed"]
CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
PROBLEM = {"error", "field"}


@pytest.fixture(scope="module")
def document(server: Server, save_constant_model) -> dict:
    """The description of an endpoint with a champion of fan_speed and none of water_flow."""
    put_in_charge(server, save_constant_model(server.store, FAN, 1))
    with psycopg.connect(server.postgres.settings.postgres_address) as connection:
        connection.execute("delete from mliot.feature where place_id = '000000000'")
    insert_feature(server, "000000000", 1_764_000_000_000, {"temperature_avg": 24.0})
    return httpx.get(f"{server.url}/docs.json").json()


def cases(document: dict, path: str, method: str, mode: GenerationMode):
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=GenerationConfig(modes=[mode]))))
    return schemathesis.openapi.from_dict(document, config=config)[path][method].as_strategy(generation_mode=mode)


def bounded(test):
    return settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(test)


@pytest.mark.parametrize("path", ["/predict", "/predict_entity"])
def test_what_fits_is_answered_as_described(server: Server, document: dict, path: str) -> None:
    seen: set[int] = set()

    @bounded
    @given(cases(document, path, "POST", GenerationMode.POSITIVE))
    def check(case: Case) -> None:
        answer = case.call(base_url=server.url)
        seen.add(answer.status_code)
        if answer.status_code == 503:  # the one that is documented: nobody answers for this use case yet
            assert "no champion" in answer.json()["error"] or "no challenger" in answer.json()["error"], answer.text
            return
        case.validate_response(answer, checks=[not_a_server_error, *CHECKS])
        if answer.status_code >= 400:
            assert answer.json().keys() == PROBLEM
            assert answer.json()["field"], answer.text

    check()
    assert 503 in seen


@pytest.mark.parametrize("path", ["/predict", "/predict_entity"])
def test_what_does_not_fit_is_refused_by_name(server: Server, document: dict, path: str) -> None:
    refused: set[int] = set()

    @bounded
    @given(cases(document, path, "POST", GenerationMode.NEGATIVE))
    def check(case: Case) -> None:
        answer = case.call(base_url=server.url)
        refused.add(answer.status_code)
        if answer.status_code == 503 and answer.json()["field"] == "use_case":
            return  # documented: without a champion nothing is said of the rows
        case.validate_response(answer, checks=[not_a_server_error, *CHECKS])
        assert 400 <= answer.status_code < 500, answer.text
        body = answer.json()
        assert body.keys() == PROBLEM
        assert body["error"]
        if isinstance(case.body, dict) and answer.status_code == 422:
            assert body["field"], answer.text

    check()
    assert 422 in refused


@pytest.mark.parametrize("path", ["/models", "/readyz", "/livez", "/metrics"])
def test_what_is_read_is_as_described(server: Server, document: dict, path: str) -> None:
    schema = schemathesis.openapi.from_dict(document)
    case = schema[path]["GET"].Case()
    case.call_and_validate(base_url=server.url, checks=[not_a_server_error, *CHECKS])


@pytest.mark.parametrize("place", ["\0", "a\0b", "\u202egnirts", "x'; drop table mliot.feature;--", "a/b", "😀", "a" * 65, ""])
def test_a_place_that_cannot_be_is_refused_before_the_store_is_asked(server: Server, document: dict, place: str) -> None:
    answer = httpx.post(f"{server.url}/predict_entity", json={"use_case": "fan_speed", "place_id": place})
    assert (answer.status_code, answer.json()["field"]) == (422, "place_id"), answer.text


def test_the_use_case_without_a_champion_says_so(server: Server, document: dict) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"use_case": "water_flow", "rows": [dict.fromkeys(FLOW.columns, 1.5)]})
    assert answer.status_code == 503
    assert "no champion of water_flow yet" in answer.json()["error"]
