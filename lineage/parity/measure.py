"""Compares what was served with what dbt built, and tells what late frames explain by computing it again without them."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from lineage.lateness import Closings, PartitionTime, may_be_late
from lineage.parity import statements
from lineage.parity.result import Parity
from mliot.featuremodels import FeatureModel, FeatureModels, create_stream_schema
from mliot.settings import Settings
from warehouse.access import attach_copy

OVER_MS = 7 * 86_400_000
"""How far back rows are compared from the newest one built: what is older was compared on the days before."""


@dataclass(frozen=True)
class Span:
    """The time that is looked at: rows that end after ``since_ms``, and whatever they look back to from ``from_ms`` on."""

    since_ms: int
    from_ms: int


def measure_parity(settings: Settings, models: FeatureModels, now_ms: int, over_ms: int = OVER_MS) -> list[Parity]:
    """The comparison of each feature model that dbt has built, by name. ``models`` are those that the stream runs now.

    Raises :class:`mliot.errors.Transient` where there is no warehouse yet.
    """
    with _history(settings) as con:
        create_stream_schema(con, models)
        look = _Look(con, models, round(settings.grace_s * 1000), _closings(con))
        return [look.at(model, now_ms, over_ms) for model in models.features if _is_built(con, model)]


@contextmanager
def _history(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory with the warehouse's readers' copy attached as ``history``."""
    with duckdb.connect() as con:
        attach_copy(con, settings, "history")
        yield con


def _is_built(con: duckdb.DuckDBPyConnection, model: FeatureModel) -> bool:
    """True where the warehouse has the model's table with the columns of now."""
    columns = {name for (name,) in _rows(con, statements.BUILT_COLUMNS, [model.name])}
    return set(model.columns) <= columns


def _closings(con: duckdb.DuckDBPyConnection) -> Closings:
    """When windows were seen to close, as the rows served of any of them tell it."""
    closings = Closings()
    for end_ms, partition, first_ms, last_ms in _rows(con, statements.CLOSINGS):
        closings.note(end_ms, first_ms, partition)
        closings.note(end_ms, last_ms, partition)
    return closings


@dataclass(frozen=True)
class _Look:
    """One look at the warehouse: the connection, what the stream runs, and how the audit tells late frames."""

    con: duckdb.DuckDBPyConnection
    models: FeatureModels
    grace_ms: int
    closings: Closings

    def at(self, model: FeatureModel, now_ms: int, over_ms: int) -> Parity:
        ((newest_ms,),) = _rows(self.con, statements.newest(model))
        since_ms = newest_ms - over_ms
        span = Span(since_ms, since_ms - model.lookback_ms - 2 * self.longest_ms)
        for statement in (
            statements.served(model, span.from_ms),
            statements.built(model, span.from_ms),
            statements.KNOWN,
            statements.CLOSED,
            statements.comparable(model, span.since_ms),
            f"create or replace temp table compared as {statements.compare(model, 'comparable', 'built')}",
            statements.missing(model, span.since_ms),
        ):
            _rows(self.con, statement)
        late = self._late_frames(model, span)
        ((suspects,),) = _rows(self.con, "select count(*) from compared where found and differ > 0")
        if suspects and late:
            self._compute_without(model, late, span)
            again = statements.compare(
                model, "(select s.* from comparable s join compared using (feature_id) where differ > 0)", "as_served"
            )
            _rows(self.con, f"create or replace temp table again as {again}")
        else:
            _rows(self.con, "create or replace temp table again as from compared limit 0")
        return _result(self.con, model, late, now_ms, since_ms)

    @property
    def longest_ms(self) -> int:
        return max(window.window_ms for window in self.models.windows)

    def _late_frames(self, model: FeatureModel, span: Span) -> dict[str, set[str]]:
        """By feature row, its frames that may have come after its window had closed, as the audit judges it.

        Of a row that was not served at all, they must be all of its frames: one on time would have had it served.
        """
        late: dict[str, set[str]] = defaultdict(set)
        on_time: set[str] = set()
        for frame_id, row, partition, arrived_ms, end_ms, reached_before_ms, served in _rows(
            self.con, statements.unserved_frames(model, self.longest_ms, span.from_ms)
        ):
            if may_be_late(
                arrived_ms,
                end_ms,
                before=PartitionTime(reached_before_ms),
                passed_ms=self.closings.passed_ms(end_ms),
                ahead_ms=self.closings.ahead_ms(end_ms, partition),
                grace_ms=self.grace_ms,
            ):
                late[row].add(frame_id)
            elif not served:
                on_time.add(row)
        return {row: frames for row, frames in late.items() if row not in on_time}

    def _compute_without(self, model: FeatureModel, late: dict[str, set[str]], span: Span) -> None:
        """``as_served``: the model's rows from the same SQL over the frames that the batch has seen, without the late ones."""
        self.con.register("late_frames", pa.table({"frame_id": sorted(frame for frames in late.values() for frame in frames)}))
        try:
            for statement in statements.frames_without("late_frames", span.from_ms):
                _rows(self.con, statement)
        finally:
            self.con.unregister("late_frames")
        for window in self.models.windows:
            if window.name == model.source:
                for statement in statements.filled(window):
                    _rows(self.con, statement)
        _rows(self.con, statements.as_served(model))


def _result(con: duckdb.DuckDBPyConnection, model: FeatureModel, late: dict[str, set[str]], now_ms: int, since_ms: int) -> Parity:
    """Counts what was found: a row that differs counts as late where it is equal without the late frames."""
    ((rows, values, differ, late_rows, extra, largest, example, until_ms),) = _rows(con, statements.JUDGED)
    absent = [feature_id for (feature_id,) in _rows(con, "from missing order by feature_id")]
    unexplained = [feature_id for feature_id in absent if feature_id not in late]
    return Parity(
        model=model.name,
        version=model.version,
        checked_ms=now_ms,
        since_ms=since_ms,
        until_ms=until_ms,
        rows=rows,
        values=int(values),
        differ=int(differ),
        late_rows=late_rows,
        missing=len(absent),
        missing_late=len(absent) - len(unexplained),
        extra=extra,
        largest=float(largest),
        example=example or (f"{unexplained[0]} was not served" if unexplained else ""),
    )


def _rows(con: duckdb.DuckDBPyConnection, statement: str, given: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """Every result is read to its end: DuckDB refuses the next statement otherwise."""
    return list(con.execute(statement, given or []).fetchall())
