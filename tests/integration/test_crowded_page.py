"""The operators' page over a store that holds far more names than a page has room for."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import quantiles
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from mliot.settings import Settings
from stack import health, postgres
from stack.environment import environment
from stack.standalone import StandaloneServer
from tests.e2e.stack import until
from tests.freeports import free_ports

pytestmark = pytest.mark.stack
NAMES = 100_000
LOADS = 20

ORDINARY = """
insert into mliot.frame_latest select 'sensor-' || n, 'room-' || n / 2, 1764000000000 + n, 0, 'sensor-' || n || '@1#00000000',
    '{"temperature": 21.5, "humidity": 50, "pressure": 101300, "luminosity": 300}'
from generate_series(0, 95) n
"""
CROWD = """
insert into mliot.frame_latest select 'flood-' || n, 'place-' || n, 1763000000000 + n, 0, 'flood-' || n || '@1#00000000',
    jsonb_build_object('name_' || n, n)
from generate_series(1, %(names)s) n;
insert into mliot.frame_latest select 'one-' || n, 'one-place', 1764000001000 + n, 0, 'one-' || n || '@1#00000000', '{"x": 1}'
from generate_series(1, %(names)s) n;
insert into mliot.frame_latest select 'giant', 'giant-place', 1764000002000, 0, 'giant@1#00000000',
    jsonb_object_agg('name_' || n, n) from generate_series(1, 15000) n;
"""


@pytest.fixture
def settings(postgres_server: StandaloneServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running dashboard over a database of its own that holds what an ordinary page shows."""
    local = postgres_server.settings
    name = f"crowd_{uuid4().hex[:12]}"
    server = f"postgresql://{postgres.SUPERUSER}:{postgres.make_password(local)}@127.0.0.1:{local.postgres_port}"
    (port,) = free_ports(1)
    home = tmp_path_factory.mktemp("crowd")
    made = Settings(_env_file=None, home=home, dashboard_port=port, postgres_dsn=SecretStr(f"{server}/{name}"))
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        postgres.create_store(made)
        fill(made, ORDINARY)
        command = (sys.executable, "-m", "dashboard")
        variables = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"} | environment(made)
        process = subprocess.Popen(command, env=variables)
        try:
            until("the dashboard is well", lambda: health.dashboard(made).ok)
            yield made
        finally:
            process.terminate()
            process.wait(20)
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


UNBOUNDED_S = 10.0
"""What the page at least took while it listed every value of every device. A machine that others use too makes no tighter bound."""


def fill(settings: Settings, statements: str) -> None:
    with psycopg.connect(settings.postgres_address) as store:
        for statement in filter(str.strip, statements.split(";")):
            store.execute(statement, {"names": NAMES} if "%(names)" in statement else None)


def page_s(settings: Settings, path: str = "/") -> tuple[float, str]:
    """How long nearly all loads of a page take (p95), and the last page."""
    took, page = [], ""
    with httpx.Client(timeout=60, trust_env=False) as client:
        for _ in range(LOADS):
            began = time.monotonic()
            answer = client.get(f"{settings.dashboard_address}{path}")
            took.append(time.monotonic() - began)
            assert answer.status_code == 200
            page = answer.text
    return quantiles(took, n=20)[-1], page


def test_a_hundred_thousand_names_and_a_giant_frame_do_not_slow_the_page_down(settings: Settings) -> None:
    before_s, quiet = page_s(settings)
    assert "sensor-95" in quiet
    fill(settings, CROWD)
    during_s, page = page_s(settings)
    print(f"p95 {before_s:.2f} s with 96 devices, {during_s:.2f} s with {2 * NAMES:,} and a giant")
    assert len(page) < 2 * len(quiet), "the page is bounded, whatever there is"
    assert during_s < UNBOUNDED_S, "a page that lists the giant's values takes longer"
    assert "and 99,996 more devices" in page
    assert re.search(r"and 14,9\d\d more values", page)
    assert "giant-place" in page
    asked_s, _ = page_s(settings, "/health")
    assert asked_s < health.ANSWER_S / 2
    _, found = page_s(settings, "/search?name=PLACE-77777")
    assert "flood-77777" in found
    assert "flood-7777@" not in found
