"""The dashboard, the endpoint and Dagster's web server answer no page of another site, and wait for no headers that do not come."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mliot.clock import Deadline, SystemClock
from mliot.settings import HOST, PREFIX, Settings
from mliot.web.patience import HEADERS_S
from stack.dagster import workspace_path
from stack.environment import environment

pytestmark = pytest.mark.stack
START_S = 120
EVIL = "http://evil.example"
SOCKETS = {"dashboard": "/_nicegui_ws/socket.io/?EIO=4&transport=websocket", "dagster": "/graphql"}
LAUNCH = "mutation{launchRun(executionParams:{}){__typename}}"


@dataclass(frozen=True)
class Page:
    """A web server of the stack, as the stack runs it."""

    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def asks(self, method: str = "GET", path: str = "/", **headers: str) -> int:
        return httpx.request(
            method, self.url + path, headers={n.replace("_", "-"): v for n, v in headers.items()}, trust_env=False
        ).status_code

    def opens_a_socket(self, origin: str) -> bool:
        lines = (
            f"GET {SOCKETS[self.name]} HTTP/1.1",
            f"Host: {HOST}:{self.port}",
            f"Origin: {origin}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *(["Sec-WebSocket-Protocol: graphql-ws"] if self.name == "dagster" else []),
        )
        with socket.create_connection((HOST, self.port), timeout=10) as connection:
            connection.sendall("\r\n".join((*lines, "", "")).encode())
            return connection.recv(64).startswith(b"HTTP/1.1 101")


@pytest.fixture(scope="module", params=["dashboard", "endpoint", "dagster"])
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]
) -> Iterator[Page]:
    """Alone: its store is away, which is no reason not to answer."""
    name: str = request.param
    port, closed = free_ports(2)
    home = tmp_path_factory.mktemp(name)
    settings = Settings(_env_file=None, home=home, postgres_dsn=f"postgresql://nobody@{HOST}:{closed}/none", **{f"{name}_port": port})
    more = {}
    if name == "dagster":
        workspace_path(settings).parent.mkdir()
        workspace_path(settings).write_text("load_from: []\n")
        (workspace_path(settings).parent / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        more = {"DAGSTER_HOME": str(workspace_path(settings).parent)}
    module = {"dashboard": "dashboard", "endpoint": "serving", "dagster": "mliot_dagster.web"}[name]
    kept = {variable: value for variable, value in os.environ.items() if not variable.startswith(PREFIX)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=kept | environment(settings) | more, stdout=log, stderr=log)
    try:
        made = Page(name, port)
        _until_it_answers(made, process, home / "log")
        yield made
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_it_answers(page: Page, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = Deadline.after(SystemClock(), START_S)
    while True:
        assert process.poll() is None, log.read_text()
        assert not deadline.passed(), log.read_text()
        try:
            if page.asks() == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)


def test_its_own_page_is_answered_and_a_name_that_is_not_its_own_is_not(page: Page) -> None:
    assert page.asks() == 200
    assert page.asks(host=f"localhost:{page.port}") == 200
    assert page.asks(origin=page.url) == 200
    assert page.asks(host=f"evil.example:{page.port}") == 421


def test_a_page_of_another_site_is_refused(page: Page) -> None:
    path = {"dashboard": "/", "endpoint": "/predict", "dagster": "/graphql"}[page.name]
    assert page.asks("POST", path, origin=EVIL, content_type="application/json") == 403
    assert page.asks(sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="image") == 403
    assert page.asks(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document") == 200


def test_a_socket_opens_for_its_own_page_only(page: Page) -> None:
    if page.name not in SOCKETS:
        pytest.skip("it has none")
    assert page.opens_a_socket(page.url)
    assert not page.opens_a_socket(EVIL)


def test_dagster_runs_no_mutation_out_of_an_address(page: Page) -> None:
    if page.name != "dagster":
        pytest.skip("it has none")
    for method in ("GET", "POST"):
        assert page.asks(method, f"/graphql?query={LAUNCH}") == 405
    answer = httpx.post(f"{page.url}/graphql", json={"query": "{version}"}, trust_env=False)
    assert answer.json()["data"]["version"]


def test_headers_that_do_not_come_are_not_waited_for(page: Page) -> None:
    where, wait_s = (HOST, page.port), HEADERS_S + 20
    with socket.create_connection(where, timeout=wait_s) as silent, socket.create_connection(where, timeout=wait_s) as begun:
        begun.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert (silent.recv(1), begun.recv(1)) == (b"", b"")
