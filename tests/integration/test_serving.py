"""The real endpoint on a real port: swaps under load, refusals, and what it says of itself."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, Semaphore

import httpx
import psycopg
import pytest

from learning.store import ModelStore
from stack.standalone import StandaloneServer
from usecases import load_use_cases

pytestmark = pytest.mark.stack
USE_CASES = load_use_cases()
FAN, FLOW = USE_CASES["fan_speed"], USE_CASES["water_flow"]
ROW = dict.fromkeys(FAN.columns, 1.5)
CLIENTS = 32
DEADLINE_S = 60


def until(what: str, condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"{what}: not within {DEADLINE_S} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Server:
    """A running endpoint and the store that it follows."""

    port: int
    home: Path
    store: ModelStore
    postgres: StandaloneServer

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLIOT_")}
        dsn = self.postgres.settings.postgres_address
        return {**kept, "MLIOT_HOME": str(self.home), "MLIOT_ENDPOINT_PORT": str(self.port), "MLIOT_POSTGRES_DSN": dsn}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def predict(self, body: object, **more: object) -> httpx.Response:
        return httpx.post(f"{self.url}/predict", content=body if isinstance(body, bytes) else json.dumps(body).encode(), **more)

    def answers_with(self, use_case: str, version: str) -> bool:
        models = httpx.get(f"{self.url}/models").json()
        return (use_case, version) in {(model["use_case"], model["model_version"]) for model in models}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, postgres_server: StandaloneServer) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    made = Server(port, home, ModelStore(home / "models"), postgres_server)
    with (home / "serving.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "serving"], env=made.environment, stdout=log, stderr=log)

    def ready() -> bool:
        assert process.poll() is None, (home / "serving.log").read_text()
        try:
            return httpx.get(f"{made.url}/readyz").is_success
        except httpx.TransportError:
            return False

    try:
        until("the endpoint answers", ready)
        yield made
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    log_text = (home / "serving.log").read_text()
    assert "Traceback" not in log_text, log_text


def test_a_use_case_is_answered_from_its_first_champion_on(server: Server, save_constant_model) -> None:
    body = {"use_case": "water_flow", "rows": [dict.fromkeys(FLOW.columns, 1.5)]}
    before = server.predict(body)
    assert before.status_code == 503
    assert before.json()["error"].startswith("there is no champion of water_flow yet: no candidate was trained; ")
    version = save_constant_model(server.store, FLOW, 7.0)
    server.store.move("water_flow", "champion", version, who="test", why="first")
    until("the first champion answers", lambda: server.predict(body).status_code == 200)
    assert server.predict(body).json() == {
        "use_case": "water_flow",
        "model_version": version,
        "feature_version": "feature-1",
        "predictions": [{"value": 7.0, "probability": None, "low": 6.5, "high": 7.5}],
    }


@pytest.fixture(scope="module")
def two_versions(server: Server, save_constant_model) -> tuple[str, str]:
    """Two versions of fan_speed that answer 1 and 2; the first is champion to begin with."""
    first, second = save_constant_model(server.store, FAN, 1), save_constant_model(server.store, FAN, 2)
    put_in_charge(server, first)
    return first, second


def put_in_charge(server: Server, version: str) -> None:
    server.store.move("fan_speed", "champion", version, who="test", why="test")
    until("the champion answers", lambda: server.answers_with("fan_speed", version))


def test_a_swap_fails_no_request_and_versions_change_once(server: Server, two_versions: tuple[str, str]) -> None:
    first, second = two_versions
    answers = {first: 1, second: 2}
    body = json.dumps({"use_case": "fan_speed", "rows": [ROW]})
    put_in_charge(server, first)
    warm, moved = Semaphore(0), Event()
    give_up = time.monotonic() + DEADLINE_S

    def ask() -> tuple[list[str], list[object]]:
        """The versions in the order of their answers, and whatever was not right."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        versions: list[str] = []
        wrong: list[object] = []
        after = 0
        while after < 50 and time.monotonic() < give_up:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status != 200 or answer["predictions"][0]["value"] != answers[answer["model_version"]]:
                wrong.append((response.status, answer))
                warm.release()
                break
            versions.append(answer["model_version"])
            if len(versions) == 10:
                warm.release()
            after += moved.is_set() and answer["model_version"] == second
        connection.close()
        return versions, wrong

    with ThreadPoolExecutor(CLIENTS) as clients:
        asking = [clients.submit(ask) for _ in range(CLIENTS)]
        for _ in range(CLIENTS):  # until each client has had answers of the first version
            assert warm.acquire(timeout=DEADLINE_S)
        server.store.move("fan_speed", "champion", second, who="test", why="better")
        moved.set()
        results = [client.result() for client in asking]

    assert [wrong for _, wrong in results if wrong] == []
    for versions, _ in results:
        changes = [(one, two) for one, two in pairwise(versions) if one != two]
        assert changes == [(first, second)]
        assert versions.count(second) >= 50


def test_the_challenger_answers_when_asked(server: Server, two_versions: tuple[str, str]) -> None:
    body = {"use_case": "fan_speed", "rows": [ROW], "alias": "challenger"}
    server.store.move("fan_speed", "challenger", None, who="test", why="none")
    until("no challenger", lambda: server.predict(body).status_code == 503)
    server.store.move("fan_speed", "challenger", two_versions[0], who="test", why="shadow")
    until("the challenger answers", lambda: server.predict(body).status_code == 200)
    assert server.predict(body).json()["model_version"] == two_versions[0]


def test_many_rows_in_order_and_null_is_a_missing_reading(server: Server, two_versions: tuple[str, str]) -> None:
    rows = [{**ROW, "luminosity_avg": None}] * 10_000
    answer = server.predict({"use_case": "fan_speed", "rows": rows}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 10_000


def with_value(text: str) -> bytes:
    row = ", ".join(f'"{column}": {text if column == "humidity_avg" else 1.5}' for column in FAN.columns)
    return f'{{"use_case": "fan_speed", "rows": [{{{row}}}]}}'.encode()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (with_value('"61"'), 422, "rows[0].humidity_avg"),
        (with_value("true"), 422, "rows[0].humidity_avg"),
        (with_value("NaN"), 422, "rows[0].humidity_avg"),
        (with_value("Infinity"), 422, "rows[0].humidity_avg"),
        (with_value("1e400"), 422, "rows[0].humidity_avg"),
        (with_value("1e39"), 422, "rows[0].humidity_avg"),
        (with_value("[1]"), 422, "rows[0].humidity_avg"),
        ({"use_case": "fan_speed", "rows": [{**ROW, "humidty_avg": 1}]}, 422, "rows[0].humidty_avg"),
        ({"use_case": "fan_speed", "rows": [{**ROW}, {"temperature_avg": 1}]}, 422, "rows[1].temperature_max"),
        ({"use_case": "fan_speed", "rows": []}, 422, "rows"),
        ({"use_case": "fan_speed", "rows": [ROW] * 10_001}, 422, "rows"),
        ({"use_case": "fan_speed", "rows": [1]}, 422, "rows[0]"),
        ({"use_case": "fan_speed", "rows": ROW}, 422, "rows"),
        ({"use_case": "fan_speed"}, 422, "rows"),
        ({"usecase": "fan_speed", "use_case": "fan_speed", "rows": [ROW]}, 422, "usecase"),
        ({"use_case": 1, "rows": [ROW]}, 422, "use_case"),
        ({"use_case": "fan_speed", "rows": [ROW], "alias": "winner"}, 422, "alias"),
        ({"use_case": "nothing", "rows": [ROW]}, 404, "use_case"),
        ([], 422, None),
        (b"not json", 422, None),
        (b"", 422, "use_case"),
        (b'{"use_case": "\xff"}', 422, None),
        (b"[" * 10_000, 422, None),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_by_name(
    server: Server, two_versions: tuple[str, str], body: object, status: int, field: str | None
) -> None:
    answer = server.predict(body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
    assert set(answer.json()) == {"error", "field"}
    assert len(answer.json()["error"]) < 1000


def test_other_content_is_refused(server: Server) -> None:
    for kind in ("application/vnd.bentoml+pickle", "multipart/form-data", "text/plain"):
        answer = server.predict(b"x", headers={"Content-Type": kind})
        assert answer.status_code == 415
        assert "application/json" in answer.json()["error"]


def insert_feature(server: Server, place: str, start_ms: int, values: dict[str, float]) -> None:
    row = {
        "id": f"place_1m:{place}@{start_ms}", "model": FAN.features, "version": "feature-1", "grain": "place_1m", "key": place,
        "place_id": place, "start_ms": start_ms, "end_ms": start_ms + 60_000, "frames": 1, "first": "stream-frame-0-0",
        "last": "stream-frame-0-0", "made_ms": start_ms, "values": json.dumps(values), "address": "stream-feature-0-0",
        "stored_ms": start_ms,
    }  # fmt: skip
    columns, places = ", ".join(f'"{name}"' for name in row), ", ".join(f"%({name})s" for name in row)
    with psycopg.connect(server.postgres.settings.postgres_address) as connection:
        connection.execute(f"insert into mliot.feature ({columns}) values ({places})", row)


def test_an_entity_is_scored_with_its_newest_features_also_after_the_store_was_away(server: Server, two_versions: tuple[str, str]) -> None:
    put_in_charge(server, two_versions[1])

    def ask() -> httpx.Response:
        return httpx.post(f"{server.url}/predict_entity", json={"use_case": "fan_speed", "place_id": "room-serving"}, timeout=30)

    nothing = ask()
    assert (nothing.status_code, nothing.json()["field"]) == (404, "place_id")
    now_ms = time.time_ns() // 1_000_000
    for minutes in (3, 2, 4):
        insert_feature(server, "room-serving", now_ms - minutes * 60_000, {"temperature_avg": 24.0})
    answer = ask().json()
    assert answer["feature_id"] == f"place_1m:room-serving@{now_ms - 120_000}"
    assert answer["model_version"] == two_versions[1]
    assert answer["predictions"][0]["value"] == 2
    assert answer["at_ms"] == now_ms - 60_000
    assert 60 <= answer["age_s"] < 60 + DEADLINE_S

    server.postgres.kill()
    away = ask()
    assert away.status_code == 503
    assert away.json()["error"].startswith("the store cannot be read: ")
    server.postgres.start()
    until("the store is read again", lambda: ask().status_code == 200)


def test_an_unknown_path_answers_in_the_same_shape(server: Server) -> None:
    answer = httpx.get(f"{server.url}/nothing")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found", "field": None})


def test_the_page_loads_nothing_from_elsewhere_and_its_files_are_there(server: Server) -> None:
    page = httpx.get(f"{server.url}/").text
    assert "googletagmanager" not in page
    assert "https://" not in page
    for file in ("docs.json", "static_content/swagger-ui.css", "static_content/swagger-ui-bundle.js"):
        assert f"./{file}" in page
        assert httpx.get(f"{server.url}/{file}").is_success


def test_the_description_has_the_routes_that_bentoml_serves_and_units(server: Server) -> None:
    described = httpx.get(f"{server.url}/docs.json").json()
    routes = {route["route"] for route in httpx.get(f"{server.url}/schema.json").json()["routes"]}
    assert routes == {path for path, operations in described["paths"].items() if "post" in operations}
    assert described["components"]["schemas"]["FanSpeedRow"]["properties"]["temperature_avg"]["x-unit"] == "°C"
    for path, operations in described["paths"].items():
        if "get" in operations:
            assert httpx.get(f"{server.url}{path}").is_success, path


def test_the_examples_of_the_page_work_as_they_stand(server: Server, two_versions: tuple[str, str]) -> None:
    examples = httpx.get(f"{server.url}/docs.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]
    assert server.predict(examples["fan_speed"]["value"]).status_code == 200


def test_metrics_count_requests_and_rows_by_version(server: Server, two_versions: tuple[str, str]) -> None:
    def rows() -> float:
        lines = httpx.get(f"{server.url}/metrics").text.splitlines()
        wanted = f'mliot_endpoint_rows_total{{alias="champion",model_version="{two_versions[1]}",use_case="fan_speed"}} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    put_in_charge(server, two_versions[1])
    before = rows()
    server.predict({"use_case": "fan_speed", "rows": [ROW] * 3})
    assert rows() - before == 3
    assert server.predict([]).status_code == 422
    text = httpx.get(f"{server.url}/metrics").text
    for status in (200, 422):
        assert f'mliot_endpoint_request_seconds_count{{route="/predict",status="{status}"}}' in text


def test_a_taken_port_is_named_with_the_setting_that_moves_it(server: Server) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "serving"],
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.strip().count("\n") == 0
    assert f"port {server.port}" in ended.stderr
    assert "MLIOT_ENDPOINT_PORT" in ended.stderr
