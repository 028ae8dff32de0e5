"""Statements that are planned once."""

import duckdb
import pytest

from streaming.features.statements import PreparedStatements


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def test_a_plan_sees_what_was_written_after_it_was_made(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table readings (minute bigint, value double)")
    statements = PreparedStatements(con)
    statements.prepare("large", "select minute, value from readings where value > 100 order by minute")
    assert statements.rows("large") == []
    con.execute("insert into readings values (1, 5), (2, 500), (3, 1e9)")
    assert statements.rows("large") == [{"minute": 2, "value": 500.0}, {"minute": 3, "value": 1e9}]


def test_several_statements_answer_what_the_last_one_does(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table readings (value double)")
    statements = PreparedStatements(con)
    statements.prepare("anew", "delete from readings", "insert into readings from range(3)")
    assert [statements.count("anew") for _ in range(2)] == [3, 3]
    assert con.execute("select count(*) from readings").fetchall() == [(3,)]
