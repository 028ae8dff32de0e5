"""A PostgreSQL of the user's own, whose role and database have names of their own."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from mliot.settings import Settings
from stack import postgres
from stack.progress import read_progress
from stack.standalone import StandaloneServer

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(postgres_server: StandaloneServer) -> Iterator[Settings]:
    """Settings that name a database of a role that is not called as the schema is."""
    local = postgres_server.settings
    name = f"someone_{uuid4().hex[:12]}"
    server = f"127.0.0.1:{local.postgres_port}"
    superuser = f"postgresql://{postgres.SUPERUSER}:{postgres.make_password(local)}@{server}/postgres"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login password 'theirs'").format(sql.Identifier(name)))
        connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(name), sql.Identifier(name)))
        yield Settings(_env_file=None, home=local.home, postgres_dsn=SecretStr(f"postgresql://{name}:theirs@{server}/{name}"))
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_progress_is_read_whatever_the_role_is_called(settings: Settings) -> None:
    """What ``mliot demo`` waits for: where it cannot be read, the demo never ends."""
    postgres.create_store(settings)
    assert read_progress(settings).missing() == "no frame is stored yet"
