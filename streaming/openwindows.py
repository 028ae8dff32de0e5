"""The frames of open windows and the dbt SQL that runs over them: an in-memory DuckDB, rebuilt from the log at each start.

``mliot.featuremodels`` says how the compiled SQL is run. Here is what the stream adds: which rows are new, which are late, which
windows close, and from which offset a restart must read again.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import duckdb
import pyarrow as pa

from mliot.errors import DeclarationError
from mliot.featuremodels import (
    FEATURE_COLUMNS,
    RAW_COLUMNS,
    RAW_FRAME,
    STG_FRAMES,
    WINDOW_COLUMNS,
    FeatureModel,
    FeatureModels,
    WindowModel,
    create_stream_schema,
)
from mliot.messages import Feature, Window
from streaming.ports import Record
from streaming.watermark import Mover

ARROW = {"VARCHAR": pa.string(), "INTEGER": pa.int32(), "BIGINT": pa.int64()}
RAW_SCHEMA = pa.schema([(name, ARROW[kind]) for name, kind in RAW_COLUMNS.items()])


@dataclass
class Added:
    """What became of added records: addresses by fate, the frame-grain feature rows, and the latest event time a partition."""

    counts: Counter[str] = field(default_factory=Counter)
    unreadable: list[Record] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    latest_event_ms: dict[int, int] = field(default_factory=dict)


@dataclass
class Closed:
    """What closing windows yields. ``moved`` where the watermark passed an end of windows, though perhaps there were none."""

    windows: list[Window] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    moved: bool = False


class OpenWindows:
    """Open windows of the assigned partitions; empty, and of no partition, until :meth:`start`."""

    def __init__(self, models: FeatureModels) -> None:
        self._models = models
        self._longest = max(model.window_ms for model in models.windows)
        self._shortest = min(model.window_ms for model in models.windows)
        for model in models.windows:
            if model.window_ms % self._shortest:
                raise DeclarationError(f"dbt model {model.name}: window_s must be a multiple of the shortest, {self._shortest // 1000} s")
        self._by_frame = tuple(model for model in models.features if not model.window_ms)
        self._con = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
        create_stream_schema(self._con, models)
        self._run(f"create table open as from {STG_FRAMES} limit 0")
        self._run("create table emitted (kafka_partition integer primary key, ms bigint)")
        self._emitted: dict[int, int] = {}

    def __enter__(self) -> "OpenWindows":
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def start(self, emitted_ms: Mapping[int, int]) -> None:
        """Forgets everything. ``emitted_ms`` is, by partition, the watermark up to which windows were emitted.

        The database stays: making it takes longer than all the rest of a rewind.
        """
        for relation in (RAW_FRAME, STG_FRAMES, *(model.relation for model in self._models.windows), "open", "emitted"):
            self._run(f"delete from {relation}")
        self._con.executemany("insert into emitted values (?, ?)", [[p, ms] for p, ms in emitted_ms.items()])
        self._emitted = dict(emitted_ms)

    @property
    def longest_lookback_ms(self) -> int:
        """How far before the emitted watermark closed windows are still looked at."""
        return max(model.lookback_ms + model.window_ms for model in self._models.features)

    def recall(self, windows: Iterable[Window]) -> None:
        """Takes in windows emitted before this start, which the lookback of later rows needs; one whose id is not its own is of others."""
        for model in self._models.windows:
            mine = {window.window_id: window for window in windows if window.grain == model.grain and _has_its_id(window)}
            if mine:
                self._insert(model.relation, [_window_row(window, model) for window in mine.values()])

    def add(self, records: Sequence[Record], *, past: bool, now_ms: int) -> Added:
        """Adds the frames in ``records``. ``past`` ones were read before a restart: they fill open windows and yield nothing."""
        added = Added()
        self._insert_raw(records)
        self._run(f"create or replace temp table parsed as {self._models.staging_sql}")
        self._run(f"delete from {RAW_FRAME}")
        added.latest_event_ms = dict(self._run("select kafka_partition, max(event_ms) from parsed group by all"))
        added.unreadable = self._unreadable(records)
        self._run(
            f"""
            create or replace temp table fresh as
            select parsed.*, parsed.event_ms - parsed.event_ms % {self._longest} + {self._longest} <= emitted.ms as late
            from parsed join emitted using (kafka_partition)
            anti join open using (frame_id)
            qualify row_number() over (partition by frame_id order by kafka_partition, kafka_offset) = 1
            """
        )
        self._run("insert into open select * exclude (late) from fresh where not late")
        ((fresh, late, late_for_shortest),) = self._run(
            f"""
            select count(*), count(*) filter (late),
                count(*) filter (not late and event_ms - event_ms % {self._shortest} + {self._shortest} <= emitted.ms)
            from fresh join emitted using (kafka_partition)
            """
        )
        if past:
            return added
        readable = len(records) - len(added.unreadable)
        added.counts.update(duplicate=readable - fresh, late=late, late_for_shortest=late_for_shortest, used=fresh - late)
        if fresh > late:
            self._stage("select * exclude (late) from fresh where not late")
            for model in self._by_frame:
                added.features += self._features(model, "", now_ms)
            self._run(f"delete from {STG_FRAMES}")
        return added

    def close(self, watermark_ms: int, by: Mover, now_ms: int) -> Closed:
        """Every window whose end the watermark has reached and that was not emitted yet, with its feature rows."""
        closed = Closed()
        watermark_ms -= watermark_ms % self._shortest  # windows end there and nowhere else: in between nothing closes or becomes late
        if all(ms >= watermark_ms for ms in self._emitted.values()):
            return closed
        closed.moved = True
        for model in self._models.windows:
            end = f"event_ms - event_ms % {model.window_ms} + {model.window_ms}"
            staged = self._stage(
                f"select open.* from open join emitted using (kafka_partition) where {end} > emitted.ms and {end} <= {watermark_ms}"
            )
            if not staged:
                continue
            self._run(f"create or replace temp table closing as {model.sql}")
            self._run(f"insert into {model.relation} from closing")
            closed.windows += [_window(row, by) for row in self._rows("from closing")]
            for feature in self._models.features:
                if feature.source == model.name:
                    closed.features += self._features(feature, "where feature_id in (select window_id from closing)", now_ms)
        self._run(f"delete from {STG_FRAMES}")
        self._forget(watermark_ms)
        return closed

    def oldest_needed(self) -> dict[int, int]:
        """By partition, the offset of the oldest frame of an open window; partitions without one are missing."""
        return dict(self._run("select kafka_partition, min(kafka_offset) from open group by all"))

    @property
    def emitted_ms(self) -> Mapping[int, int]:
        return self._emitted

    def _forget(self, watermark_ms: int) -> None:
        self._emitted = {partition: max(ms, watermark_ms) for partition, ms in self._emitted.items()}
        self._run(f"update emitted set ms = greatest(ms, {watermark_ms})")
        self._run(
            f"""
            delete from open using emitted
            where open.kafka_partition = emitted.kafka_partition
                and event_ms - event_ms % {self._longest} + {self._longest} <= emitted.ms
            """
        )
        for model in self._models.windows:
            lookback = max((f.lookback_ms for f in self._models.features if f.source == model.name), default=0)
            self._run(f"delete from {model.relation} where start_ms < {min(self._emitted.values()) - lookback - model.window_ms}")

    def _stage(self, rows: str) -> int:
        self._run(f"delete from {STG_FRAMES}")
        ((count,),) = self._run(f"insert into {STG_FRAMES} {rows}")
        return int(count)

    def _features(self, model: FeatureModel, where: str, now_ms: int) -> list[Feature]:
        return [_feature(row, model.version, now_ms) for row in self._rows(f"from ({model.sql}) {where}")]

    def _unreadable(self, records: Sequence[Record]) -> list[Record]:
        parsed = set(self._run("select kafka_partition, kafka_offset from parsed"))
        return [record for record in records if (record.partition, record.offset) not in parsed]

    def _insert_raw(self, records: Sequence[Record]) -> None:
        rows = [
            (r.topic, r.partition, r.offset, r.timestamp_ms, r.key, r.value.decode("utf-8", "replace"), r.traceparent or None)
            for r in records
        ]
        self._register(pa.table(list(zip(*rows, strict=True)), schema=RAW_SCHEMA), RAW_FRAME)

    def _insert(self, relation: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._register(pa.Table.from_pylist(list(rows)), relation, by_name=True)

    def _register(self, table: pa.Table, relation: str, *, by_name: bool = False) -> None:
        self._con.register("incoming", table)
        try:
            self._run(f"insert into {relation} {'by name' if by_name else ''} select * from incoming")
        finally:
            self._con.unregister("incoming")

    def _rows(self, query: str) -> list[dict[str, Any]]:
        result = self._con.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        """Every result is read to its end: DuckDB 2 refuses the next statement otherwise."""
        return list(self._con.execute(statement).fetchall())


def values_of(row: Mapping[str, Any], fixed: Collection[str]) -> dict[str, float]:
    """The finite numbers among the row's columns, without the ``fixed`` ones."""
    return {name: float(v) for name, v in row.items() if name not in fixed and v is not None and isfinite(v)}


def _feature(row: dict[str, Any], version: str, now_ms: int) -> Feature:
    values = values_of(row, FEATURE_COLUMNS)
    return Feature(**{name: row[name] for name in FEATURE_COLUMNS}, version=version, made_ms=now_ms, values=values)


def _window(row: dict[str, Any], by: Mover) -> Window:
    return Window(**{name: row[name] for name in WINDOW_COLUMNS}, closed_by=by, values=values_of(row, WINDOW_COLUMNS))


def _has_its_id(window: Window) -> bool:
    return window.window_id == f"{window.grain}:{window.key}@{window.start_ms}"


def _window_row(window: Window, model: WindowModel) -> dict[str, Any]:
    return {name: getattr(window, name) for name in WINDOW_COLUMNS} | {name: window.values.get(name) for name in model.columns}
