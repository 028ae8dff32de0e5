import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from mliot.settings import Settings
from stack import health

Serve = Callable[[int, Any], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answers every request on a free port with a status and a body; returns the port."""
    servers: list[HTTPServer] = []

    def start(status: int, body: Any) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return int(servers[-1].server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **changes)


def test_page_that_answers_is_well_and_one_that_fails_is_not(serve: Serve) -> None:
    assert health.dashboard(settings(dashboard_port=serve(200, {}))).ok
    sick = health.dashboard(settings(dashboard_port=serve(500, {})))
    assert (sick.state, sick.detail) == ("away", "answers 500")


def test_the_endpoint_says_what_it_cannot_read_and_who_has_no_champion(serve: Serve) -> None:
    told = {"state": "ok", "faults": {}, "without_champion": {}}
    assert health.endpoint(settings(endpoint_port=serve(200, told))) == health.Health("ok")
    told |= {"state": "waiting", "faults": {"fan_speed/champion": "no such file"}, "without_champion": {"warmth": "the gate refused it"}}
    one = health.endpoint(settings(endpoint_port=serve(200, told)))
    assert (one.state, one.detail) == ("waiting", "fan_speed/champion: no such file; no champion of warmth: the gate refused it")
    assert health.endpoint(settings(endpoint_port=serve(500, told))).state == "away"
    assert health.endpoint(settings(endpoint_port=serve(200, {}))).state == "away"


@pytest.mark.parametrize("lag", [9, None])
@pytest.mark.parametrize(
    ("state", "detail"), [("ok", "late; ahead"), ("waiting", "Kafka is away"), ("stalled", "stands still"), ("starting", "")]
)
def test_service_says_state_rate_lag_and_error(serve: Serve, state: str, detail: str, lag: int | None) -> None:
    told = {"state": state, "rate_per_s": 2.5, "lag": lag, "last_error": "Kafka is away", "last_error_ms": 5, "stalled": "stands still"}
    told |= {"remarks": ["ahead"] if state == "ok" else [], "notice": "late" if state == "ok" else ""}
    told["waits_for"] = detail if state == "waiting" else ""
    one = health.service("bridge")(settings(metrics_port=serve(200, told)))
    assert one == health.Health(state, detail, 2.5, lag, "Kafka is away", 5)
    assert (one.ok, one.up) == (state == "ok", state != "starting")


def test_a_service_that_works_says_what_a_person_must_know_all_the_same(serve: Serve) -> None:
    told = {
        "state": "ok",
        "rate_per_s": 2.5,
        "lag": 9,
        "last_error": "",
        "last_error_ms": None,
        "waits_for": "",
        "stalled": "",
        "remarks": [],
        "notice": "a session was lost",
    }
    assert health.service("bridge")(settings(metrics_port=serve(200, told))).detail == "a session was lost"


@pytest.mark.parametrize(("healthy", "state"), [(True, "ok"), (False, "starting")])
def test_daemon_is_well_when_each_required_heartbeat_is_fresh(serve: Serve, healthy: bool, state: str) -> None:
    statuses = [
        {"daemonType": "SENSOR", "healthy": healthy, "required": True},
        {"daemonType": "BACKFILL", "healthy": False, "required": False},
    ]
    answer = {"data": {"instance": {"daemonHealth": {"allDaemonStatuses": statuses}}}}
    one = health.dagster_daemon(settings(dagster_port=serve(200, answer)))
    assert one.state == state
    assert ("sensor" in one.detail) is not healthy


def test_daemon_of_which_nothing_is_told_is_away(serve: Serve) -> None:
    assert health.dagster_daemon(settings(dagster_port=serve(200, {"errors": []}))).state == "away"


@pytest.mark.parametrize(
    "check", [health.mqtt, health.kafka, health.postgres, health.dagster_code, health.endpoint, health.service("bridge")]
)
def test_part_that_does_not_answer_is_away_and_says_why(check: health.Check, free_ports: Callable[[int], list[int]]) -> None:
    port = free_ports(1)[0]
    names = ("kafka_port", "mqtt_port", "postgres_port", "dagster_code_port", "endpoint_port", "metrics_port")
    one = check(settings(**dict.fromkeys(names, port)))
    assert one.state == "away"
    assert one.detail
    assert "\n" not in one.detail
