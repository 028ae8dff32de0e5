"""Windows and feature rows of the past, computed anew from their frames by the SQL that dbt compiled.

Which frames a window held is told by the window itself: a service that has closed a window refuses every later frame of its
partition, so it held exactly the frames up to its last one's address. Frames after that came late and were no part of it. A window
whose frames lie in several partitions says so for the last of them only: where its count does not agree either, it is doubtful.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from lineage.audit import LogRecord
from lineage.decide_again.past import Address, Evidence, Extent
from mliot.featuremodels import FEATURE_COLUMNS, RAW_FRAME, STG_FRAMES, WINDOW_COLUMNS, FeatureModel, FeatureModels, create_stream_schema
from mliot.grains import Grain
from mliot.messages import Feature, Frame, Window
from streaming.features.openwindows import values_of

_EVIDENCE = {
    "window_id": pa.string(), "grain": pa.string(), "key": pa.string(), "start_ms": pa.int64(), "frames": pa.int64(),
    "first_partition": pa.int32(), "first_offset": pa.int64(), "last_partition": pa.int32(), "last_offset": pa.int64(), "home": pa.int32(),
}  # fmt: skip
_WANTED = {
    "feature_id": pa.string(), "model": pa.string(), "key": pa.string(), "start_ms": pa.int64(), "frame_id": pa.string(),
    "first_partition": pa.int32(), "first_offset": pa.int64(),
}  # fmt: skip
_FETCHED = 2000


class Recomputation:
    """An in-memory DuckDB: evidence and rows wanted go in first, then the frames, then :meth:`compute` makes windows and rows of them."""

    def __init__(self, models: FeatureModels) -> None:
        self._models = models
        self._con = duckdb.connect()
        create_stream_schema(self._con, models)
        self._run(f"create table log as from {STG_FRAMES} limit 0")
        self._run("create table late (window_id varchar, address varchar)")
        self._run("create table doubtful (window_id varchar)")
        self._run("create table sees (feature_id varchar, window_id varchar)")

    def __enter__(self) -> "Recomputation":
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def want(self, rows: Iterable[Feature], evidence: Iterable[Evidence]) -> None:
        """The rows to compute (called once), and the windows that were closed: their own, and those that they look back on."""
        wanted = [(r.feature_id, r.model, r.key, r.start_ms, _frame_id(r), *Address.of(r.first)[1:]) for r in rows]
        self._create("wanted", _WANTED, wanted)
        self._create("evidence", _EVIDENCE, [(*e[:5], *e.first[1:], *e.last[1:], e.home) for e in evidence])
        for model in self._by_window():
            self._run(
                f"""
                insert into sees
                select wanted.feature_id, evidence.window_id
                from wanted cross join range(0, {model.lookback_ms + 1}, {model.window_ms}) as ago(back_ms)
                join evidence on evidence.grain = '{model.grain}' and evidence.key = wanted.key
                    and evidence.start_ms = wanted.start_ms - ago.back_ms
                where wanted.model = '{model.name}'
                """
            )
        self._run("create table needed as select * from evidence semi join sees using (window_id)")

    def extent(self, *, whole: bool) -> Extent:
        """Where the frames lie; ``whole``: up to the end of each partition, so that those that came late are seen too."""
        firsts = dict(self._run(f"select first_partition, min(first_offset) from ({self._places()}) group by all"))
        lasts = dict(self._run(f"select last_partition, max(last_offset) + 1 from ({self._places()}) group by all"))
        ends: dict[int, int | None] = dict.fromkeys(firsts) if whole else {p: lasts.get(p) for p in firsts}
        (spread,) = self._run("select count(*) from needed where first_partition != last_partition")[0]
        if spread:
            return {partition: (firsts.get(partition, 0), None) for partition in {*firsts, *lasts}}
        return {partition: (first, ends[partition]) for partition, first in firsts.items()}

    def lost(self, begins: Mapping[int, int]) -> set[str]:
        """The rows some of whose frames, or of their lookback's, Kafka has dropped; ``begins``: the first offset that it keeps."""
        gone = [partition_begin for partition_begin in begins.items() if partition_begin[1]]
        self._create("begins", {"partition": pa.int32(), "begin": pa.int64()}, gone)
        found = self._run(
            f"select distinct feature_id from ({self._places()}) join begins on first_partition = partition where first_offset < begin"
        )
        return {id for (id,) in found}

    def without_lookback(self, begins: Mapping[int, int]) -> set[str]:
        """The rows that may have looked back on windows that Kafka has dropped; ``begins`` is of the windows' topic."""
        self._create("kept", {"partition": pa.int32()}, [(partition,) for partition, begin in begins.items() if begin])
        found: set[str] = set()
        for model in self._by_window():
            rows = self._run(
                f"""
                with oldest as (
                    select home, min(start_ms) as start_ms from evidence join kept on home = partition
                    where grain = '{model.grain}' group by home
                )
                select wanted.feature_id
                from wanted join evidence on evidence.window_id = wanted.feature_id join oldest using (home)
                where wanted.model = '{model.name}' and wanted.start_ms - {model.lookback_ms} < oldest.start_ms
                """
            )
            found |= {id for (id,) in rows}
        return found

    def add(self, records: Sequence[LogRecord]) -> None:
        """Takes in the frames among ``records`` that a window or row needs; by and by, all of the extent."""
        raw = [(Frame.topic_name, r.partition, r.offset, r.value.decode("utf-8", "replace")) for r in records]
        names = ("kafka_topic", "kafka_partition", "kafka_offset", "value")
        self._insert(f"{RAW_FRAME} by name", dict(zip(names, (pa.string(), pa.int32(), pa.int64(), pa.string()), strict=True)), raw)
        within = [
            f"(event_ms - event_ms % {window.window_ms}, {Grain.of(window).key_sql()})"
            f" in (select (start_ms, key) from needed where grain = '{window.grain}')"
            for window in self._models.windows
        ]
        self._run(f"create or replace temp table parsed as {self._models.staging_sql}")
        self._run(
            f"insert into log from parsed where {' or '.join(within)} or frame_id in (select frame_id from wanted where frame_id != '')"
        )
        self._run(f"delete from {RAW_FRAME}")

    def compute(self) -> None:
        """The windows, each from the frames that it held."""
        for window in self._models.windows:
            self._run(
                f"""
                create or replace temp table staged as
                select log.*, needed.window_id, needed.frames, needed.first_partition != needed.last_partition as spread,
                    (log.kafka_partition, log.kafka_offset) <= (needed.last_partition, needed.last_offset) as held
                from log join needed on needed.grain = '{window.grain}' and needed.key = {Grain.of(window).key_sql("log")}
                    and needed.start_ms = log.event_ms - log.event_ms % {window.window_ms}
                """
            )
            self._run(
                """
                insert into late select window_id, first(address order by kafka_offset) from staged
                where not held and frame_id not in (select frame_id from staged where held) group by window_id, frame_id
                """
            )
            self._run(
                """
                insert into doubtful select window_id from staged where held and spread
                group by window_id, frames having count(distinct frame_id) != frames
                """
            )
            self._run(f"delete from {STG_FRAMES}")
            self._run(f"insert into {STG_FRAMES} select * exclude (window_id, frames, spread, held) from staged where held")
            self._run(f"insert into {window.relation} from ({window.sql})")

    def windows(self) -> Iterator[Window]:
        """The windows of the rows wanted; what closed them is not told."""
        for model in self._models.windows:
            for row in self._rows(f"from {model.relation} where window_id in (select feature_id from wanted)"):
                yield Window(**{name: row[name] for name in WINDOW_COLUMNS}, values=values_of(row, WINDOW_COLUMNS))

    def rows(self) -> Iterator[Feature]:
        """The feature rows wanted, with ``made_ms`` 0."""
        self._run(f"delete from {STG_FRAMES}")
        self._run(f"insert into {STG_FRAMES} from log where frame_id in (select frame_id from wanted where frame_id != '')")
        for model in self._models.features:
            query = f"from ({model.sql}) where feature_id in (select feature_id from wanted where model = '{model.name}')"
            for row in self._rows(query):
                yield Feature(
                    **{name: row[name] for name in FEATURE_COLUMNS},
                    version=model.version,
                    made_ms=0,
                    values=values_of(row, FEATURE_COLUMNS),
                )

    def came_late(self) -> dict[str, list[str]]:
        """By window, the addresses of the frames that came after it had closed."""
        return dict(self._run("select window_id, list(address order by address) from late group by all"))

    def in_doubt(self) -> set[str]:
        """The rows whose window, or one that they look back on, is doubtful."""
        return {id for (id,) in self._run("select distinct feature_id from sees semi join doubtful using (window_id)")}

    def _by_window(self) -> Iterator[FeatureModel]:
        return (model for model in self._models.features if model.window_ms)

    def _places(self) -> str:
        """Where the frames of each row lie: those of the windows that it sees, or its own one."""
        return """
            select feature_id, first_partition, first_offset, last_partition, last_offset from sees join needed using (window_id)
            union all
            select feature_id, first_partition, first_offset, first_partition, first_offset from wanted where frame_id != ''
            """

    def _create(self, table: str, columns: Mapping[str, pa.DataType], rows: Sequence[tuple[Any, ...]]) -> None:
        self._run(f"create table {table} ({', '.join(f'{name} {_SQL[str(kind)]}' for name, kind in columns.items())})")
        self._insert(table, columns, rows)

    def _insert(self, into: str, columns: Mapping[str, pa.DataType], rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        self._con.register("incoming", pa.table(list(zip(*rows, strict=True)), schema=pa.schema(list(columns.items()))))
        try:
            self._run(f"insert into {into} select * from incoming")
        finally:
            self._con.unregister("incoming")

    def _rows(self, query: str) -> Iterator[dict[str, Any]]:
        result = self._con.execute(query)
        names = [column[0] for column in result.description]
        while batch := result.fetchmany(_FETCHED):
            yield from (dict(zip(names, row, strict=True)) for row in batch)

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        return list(self._con.execute(statement).fetchall())


_SQL = {"string": "varchar", "int32": "integer", "int64": "bigint"}


def _frame_id(row: Feature) -> str:
    """The frame that a row of one frame describes, or '' where it describes a window."""
    return row.feature_id.partition(":")[2] if row.start_ms == row.end_ms else ""
