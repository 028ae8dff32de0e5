"""Live scores out of the real store: answers, their labels, and the last label that was known as each answer was given."""

import psycopg
import pytest

from learning.monitoring.livescore import Answered, read_answered
from mliot.errors import Transient
from mliot.settings import Settings
from stack.standalone import StandaloneServer

pytestmark = pytest.mark.stack
MINUTE = 60_000
NAME = "livescore_test"


def put(con: psycopg.Connection, minute: int, answer: float, truth: float | None, *, version: str = "v1", shadow: bool = False) -> None:
    """The answer given at ``minute`` about its feature row, and that row's label, known ten minutes later."""
    feature, at = f"place_1m:{NAME}@{minute}", minute * MINUTE
    con.execute(
        "insert into mliot.prediction (id, use_case, feature_id, model_version, feature_version, key, place_id, at_ms, for_ms, "
        "made_ms, value, shadow, address, stored_ms) values (%s, %s, %s, %s, 'f', 'key', 'place', %s, %s, %s, %s, %s, '', 0)",
        [f"{feature}+{version}", NAME, feature, version, at, at, at, answer, shadow],
    )
    if truth is not None:
        con.execute(
            "insert into mliot.label (id, use_case, feature_id, key, place_id, label_ms, available_ms, value, address, stored_ms) "
            "values (%s, %s, %s, 'key', 'place', %s, %s, %s, '', 0)",
            [f"{NAME}:{feature}", NAME, feature, at, at + 10 * MINUTE, truth],
        )


def test_answers_come_with_label_and_baseline_the_newest_first(postgres_server: StandaloneServer) -> None:
    settings = postgres_server.settings
    with psycopg.connect(settings.postgres_address) as con:
        put(con, 0, 1.0, 2.0)  # no label was known before it, so no baseline
        put(con, 5, 1.0, 3.0)
        put(con, 12, 4.0, 5.0)  # minute 0's label was known by then
        put(con, 20, 7.0, 6.0)  # minute 5's too
        put(con, 20, 8.0, None, version="v2", shadow=True)  # a shadow's answer about the same row
        put(con, 30, 9.0, None)  # not labelled yet
    newest = read_answered(settings, NAME, newest=2)
    assert sorted(newest, key=lambda answer: answer.model_version) == [
        Answered("v1", shadow=False, value=7.0, baseline=3.0, label=6.0),
        Answered("v2", shadow=True, value=8.0, baseline=3.0, label=6.0),
    ]
    assert len(read_answered(settings, NAME)) == 3
    assert read_answered(settings, NAME)[-1] == Answered("v1", shadow=False, value=4.0, baseline=2.0, label=5.0)


def test_without_postgres_it_is_worth_another_try(postgres_server: StandaloneServer) -> None:
    away = Settings(_env_file=None, home=postgres_server.settings.home, postgres_port=1)
    with pytest.raises(Transient, match="PostgreSQL: "):
        read_answered(away, NAME)
