"""Kept drift reports over HTTP: what is listed is served, nothing else is."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dashboard.reports import add_report_route
from learning.monitoring.reports import Report, Reports

Ask = Callable[[str, str], httpx.Response]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    (tmp_path / "secret.html").write_text("secret")
    report, path = Reports(tmp_path / "reports").make("pump", 1_764_000_000_000)
    path.parent.mkdir(parents=True)
    path.write_text("<h1>drift ü</h1>", "utf-8")
    (path.parent / "notes.html").write_text("secret")
    return report


@pytest.fixture
def ask(report: Report, tmp_path: Path) -> Ask:
    app = FastAPI()
    add_report_route(app, Reports(tmp_path / "reports"))

    async def answer(method: str, path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dashboard") as client:
            return await client.request(method, path)

    return lambda method, path: asyncio.run(answer(method, path))


def test_a_kept_report_is_served_as_a_page_of_its_own_origin(ask: Ask, report: Report) -> None:
    answer = ask("GET", report.url_path)
    assert (answer.status_code, answer.text) == (200, "<h1>drift ü</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    assert ask("HEAD", report.url_path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "pump/notes.html",
        "pump/drift-20251124-160001.html",
        "..%2F/secret.html",
        "pump/..%2F..%2Fsecret.html",
        "%2e%2e/secret.html",
        "pump/%2e%2e%2f%2e%2e%2fsecret.html",
        "pump/",
        "pump%00/notes.html",
        "nobody/drift-20251124-160000.html",
    ],
)
def test_anything_else_is_not_found(ask: Ask, path: str) -> None:
    answer = ask("GET", f"/reports/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_reports_are_read_only(ask: Ask, report: Report, method: str) -> None:
    assert ask(method, report.url_path).status_code == 405
