"""SQL that is planned once and run for every micro-batch: for a few rows, planning costs many times what running does.

DuckDB reuses the plan of a prepared statement that reads tables only where its optimizer had no part in it and nothing is left to
be bound (docs/decisions/planned-once.md). So the optimizer is off on such a connection, statements have no parameters (what they
need to know stands in small tables), and joins are written in the order in which they are to run: what is small on the right.
"""

from typing import Any

import duckdb


class PreparedStatements:
    """Prepared statements of ``con``, by a name that says what they do."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._con.execute("set enable_optimizer = false")
        self._execute: dict[str, str] = {}

    def prepare(self, name: str, *statements: str) -> None:
        """``name`` runs the statements one after the other, and answers what the last of them does."""
        plans = [f"plan_{len(self._execute)}_{number}" for number in range(len(statements))]
        for plan, statement in zip(plans, statements, strict=True):
            self._con.execute(f"prepare {plan} as {statement}")
        self._execute[name] = "; ".join(f"execute {plan}" for plan in plans)

    def run(self, name: str) -> list[tuple[Any, ...]]:
        """Every result is read to its end: DuckDB 2 refuses the next statement otherwise."""
        return list(self._con.execute(self._execute[name]).fetchall())

    def count(self, name: str) -> int:
        """The one number that a statement answers: how many rows it wrote."""
        ((count,),) = self.run(name)
        return int(count)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Each row by column name."""
        result = self._con.execute(self._execute[name])
        columns = [column[0] for column in result.description]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
