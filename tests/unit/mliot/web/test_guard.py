"""Which requests may be a foreign page's doing."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.web.guard import LOOPBACK, Asked, Guard, Refusal, foreign
from mliot_dagster.web import in_address

OURS = "127.0.0.1:18080"


def asked(method: str = "GET", path: str = "/", query: str = "", **headers: str) -> Asked:
    return Asked(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()})


def status(one: Asked, *hosts: str) -> HTTPStatus | None:
    refusal = foreign(one, LOOPBACK | set(hosts))
    return refusal.status if refusal else None


@pytest.mark.parametrize("host", [OURS, "localhost:18080", "LOCALHOST", "[::1]:18080", "127.0.0.1"])
def test_the_servers_own_names_are_answered(host: str) -> None:
    assert status(asked(host=host)) is None
    assert status(asked("POST", host=host, origin=f"http://{host}", sec_fetch_site="same-origin")) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:18080", "127.0.0.1.evil.example", "", "[::1", "127.0.0.1@evil.example", "0.0.0.0"]
)
def test_another_name_is_refused_whatever_it_resolves_to(host: str) -> None:
    assert status(asked(host=host)) is HTTPStatus.MISDIRECTED_REQUEST
    assert status(asked()) is HTTPStatus.MISDIRECTED_REQUEST


def test_a_name_of_the_settings_is_one_of_the_servers() -> None:
    proxied = asked("POST", host="plant.example", origin="https://plant.example")
    assert status(proxied) is HTTPStatus.MISDIRECTED_REQUEST
    assert status(proxied, "plant.example") is None


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:18080", "https://[", ""])
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    for method in ("GET", "POST"):
        assert status(asked(method, host=OURS, origin=origin)) is HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_an_image_of_another_page_is_refused_and_a_link_of_it_is_followed(site: str) -> None:
    assert status(asked(host=OURS, sec_fetch_site=site, sec_fetch_mode="no-cors", sec_fetch_dest="image")) is HTTPStatus.FORBIDDEN
    assert status(asked(host=OURS, sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="iframe")) is HTTPStatus.FORBIDDEN
    assert (
        status(asked("POST", host=OURS, sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document")) is HTTPStatus.FORBIDDEN
    )
    assert status(asked(host=OURS, sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document")) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_headers_let_a_foreign_origin_in(host: str, origin: str) -> None:
    if foreign(asked("POST", host=host, origin=origin), LOOPBACK) is None:
        assert origin.lower().partition("://")[2].partition("/")[0].startswith(host.lower())


def test_graphql_is_not_run_out_of_an_address() -> None:
    assert in_address(asked(path="/graphql", query="query=mutation%7Ba%7D")) == Refusal(
        HTTPStatus.METHOD_NOT_ALLOWED, "a GraphQL document is taken in the body of a POST only"
    )
    assert in_address(asked(path="/graphql", query="a=1&query=")) is not None
    assert in_address(asked("POST", path="/graphql", query="query=a")) is not None
    assert in_address(asked("POST", path="/graphql")) is None
    assert in_address(asked(path="/graphql")) is None
    assert in_address(asked(path="/runs", query="query=a")) is None


def answers(scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        sent.append({"type": "passed on"})

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(Guard(app, ["plant.example"]), scope, receive, send)
    return sent


def test_a_socket_is_closed_before_it_opens_and_a_start_passes() -> None:
    socket = {"type": "websocket", "path": "/", "headers": [(b"host", OURS.encode()), (b"origin", b"http://evil.example")]}
    assert answers(socket)[0]["type"] == "websocket.close"
    assert answers(socket | {"headers": [(b"host", OURS.encode())]})[0]["type"] == "passed on"
    assert answers({"type": "lifespan"})[0]["type"] == "passed on"


def test_a_host_that_is_given_twice_is_refused() -> None:
    request = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", OURS.encode()), (b"Host", b"evil.example")]}
    assert answers(request)[0]["status"] == 400
