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

from mliot.featuremodels import (
    FEATURE_COLUMNS,
    FRAMES,
    RAW_FRAME,
    STG_FRAMES,
    WINDOW_COLUMNS,
    FeatureModel,
    FeatureModels,
    WindowModel,
    create_stream_schema,
)
from mliot.frames import reached_ms
from mliot.messages import Feature, Window
from streaming.features.openframes import Arrived, OpenFrames
from streaming.features.statements import PreparedStatements
from streaming.features.watermark import Mover
from streaming.runtime.effects import Record

SMALL = ("emitted", "unwanted")
"""Tables of what a plan must know: how far windows were emitted and are to be, which frames to drop."""
VACUUM_ROWS = 20_000
"""Once so many rows were deleted, their space is taken back."""


@dataclass
class Added:
    """What became of added records: addresses by fate, the frame-grain feature rows, and how far event time has come by partition."""

    counts: Counter[str] = field(default_factory=Counter)
    unreadable: list[Record] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    reached_ms: dict[int, int] = field(default_factory=dict)


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
        self._by_frame = tuple(model for model in models.features if not model.window_ms)
        self._emitted: dict[int, int] = {}
        self._frames = OpenFrames(self._longest, self._shortest)
        self._con = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
        create_stream_schema(self._con, models, table="frames")
        self._con.execute(f"create table open as from {FRAMES}")
        self._con.execute("create table emitted (kafka_partition integer, ms bigint, until_ms bigint)")
        self._con.execute("create table unwanted (kafka_partition integer, kafka_offset bigint)")
        self._statements = PreparedStatements(self._con)
        self._prepare()
        written = (RAW_FRAME, *SMALL, *(model.relation for model in models.windows))
        self._appenders = {relation: self._con.appender(relation) for relation in written}
        self._dead: Counter[str] = Counter()

    def __enter__(self) -> "OpenWindows":
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def start(self, emitted_ms: Mapping[int, int]) -> None:
        """Forgets everything. ``emitted_ms`` is, by partition, the watermark up to which windows were emitted.

        The database stays: making it takes longer than all the rest of a rewind.
        """
        for appender in self._appenders.values():
            appender.clear()
        self._statements.run("clear everything")
        self._frames.clear()
        self._emitted = dict(emitted_ms)
        self._append("emitted", [(partition, ms, ms) for partition, ms in emitted_ms.items()])

    @property
    def longest_lookback_ms(self) -> int:
        """How far before the emitted watermark closed windows are still looked at."""
        return max(model.lookback_ms + model.window_ms for model in self._models.features)

    def recall(self, windows: Iterable[Window]) -> None:
        """Takes in windows emitted before this start, which the lookback of later rows needs; one whose id is not its own is of others."""
        for model in self._models.windows:
            mine = {window.window_id: window for window in windows if window.grain == model.grain and _has_its_id(window)}
            if mine:
                self._append(model.relation, [_window_row(window, model) for window in mine.values()])

    def add(self, records: Sequence[Record], *, past: bool, now_ms: int) -> Added:
        """Adds the frames in ``records``. ``past`` ones were read before a restart: they fill open windows and yield nothing."""
        added = Added()
        self._append(RAW_FRAME, [_raw_row(record) for record in records])
        parsed = sorted(map(Arrived._make, self._statements.run("take in")))
        if len(parsed) < len(records):
            read = {(frame.kafka_partition, frame.kafka_offset) for frame in parsed}
            added.unreadable = [record for record in records if (record.partition, record.offset) not in read]
        for frame in parsed:
            reached = reached_ms(frame.event_ms, frame.arrived_ms)
            added.reached_ms[frame.kafka_partition] = max(reached, added.reached_ms.get(frame.kafka_partition, reached))
        judged = self._frames.judge(parsed, self._emitted)
        if judged.used:
            if judged.unwanted:
                self._append("unwanted", judged.unwanted)
                self._statements.run("drop unwanted")
            self._statements.run("open")
        if not past:
            duplicate = len(parsed) - judged.fresh
            added.counts.update(duplicate=duplicate, late=judged.late, late_for_shortest=judged.late_for_shortest, used=judged.used)
            for model in self._by_frame if judged.used else ():
                added.features += self._features(model, now_ms)
        self._statements.run("clear batch")
        self._deleted("warehouse", len(records))
        return added

    def close(self, watermark_ms: int, by: Mover, now_ms: int) -> Closed:
        """Every window whose end the watermark has reached and that was not emitted yet, with its feature rows."""
        closed = Closed()
        watermark_ms -= watermark_ms % self._shortest  # windows end there and nowhere else: in between nothing closes or becomes late
        if not self._ends(self._shortest, watermark_ms):
            return closed
        closed.moved = True
        self._con.execute(f"update emitted set until_ms = greatest(ms, {watermark_ms:d})").fetchall()
        staged_ms = staged = 0
        ended = [model for model in self._models.windows if self._ends(model.window_ms, watermark_ms)]
        for model in ended:
            if model.window_ms != staged_ms:
                staged_ms, staged = model.window_ms, self._statements.count(f"stage {model.window_ms}")
            if not staged:
                continue
            closed.windows += [_window(row, by) for row in self._statements.rows(f"close {model.name}")]
            for feature in self._models.features:
                if feature.source == model.name:
                    closed.features += self._features(feature, now_ms)
            self._statements.run(f"closed {model.name}")
        self._emitted = {partition: max(ms, watermark_ms) for partition, ms in self._emitted.items()}
        self._statements.run("emitted")
        for model in ended:
            self._statements.run(f"forget {model.name}")
        forgotten = self._frames.forget(self._emitted)
        if forgotten:
            self._statements.run("forget frames")
            self._deleted("memory", forgotten)
        return closed

    def oldest_needed(self) -> dict[int, int]:
        """By partition, the offset of the oldest frame of an open window; partitions without one are missing."""
        return self._frames.oldest()

    @property
    def emitted_ms(self) -> Mapping[int, int]:
        return self._emitted

    def _prepare(self) -> None:
        """Plans all that :meth:`start`, :meth:`add` and :meth:`close` run."""
        models, prepare = self._models, self._statements.prepare
        arrived = ", ".join(Arrived._fields)
        windows = [relation for model in models.windows for relation in (model.relation, model.closing)]
        prepare("clear everything", *(f"delete from {name}" for name in (RAW_FRAME, FRAMES, *windows, "open", *SMALL)))
        prepare("take in", f"insert into {FRAMES} from {STG_FRAMES} returning {arrived}")
        prepare(
            "drop unwanted",
            f"""
            delete from {FRAMES} where rowid in (
                select frames.rowid from {FRAMES} as frames join unwanted using (kafka_partition, kafka_offset)
            )
            """,
            "delete from unwanted",
        )
        prepare("open", f"insert into open from {FRAMES}")
        prepare("clear batch", f"delete from {RAW_FRAME}", f"delete from {FRAMES}")
        for window_ms in {model.window_ms for model in models.windows}:
            due = f"{_end('event_ms', window_ms)} > ms and {_end('event_ms', window_ms)} <= until_ms"
            stage = f"insert into {FRAMES} select open.* from open join emitted using (kafka_partition) where {due}"
            prepare(f"stage {window_ms}", f"delete from {FRAMES}", stage)
        for window in models.windows:
            prepare(
                f"close {window.name}",
                f"insert into {window.closing} {window.sql}",
                f"insert into {window.relation} from {window.closing}",
                f"from {window.closing}",
            )
            prepare(f"closed {window.name}", f"delete from {window.closing}")
            kept_ms = window.window_ms + max((each.lookback_ms for each in models.features if each.source == window.name), default=0)
            prepare(f"forget {window.name}", f"delete from {window.relation} where start_ms < (select min(ms) from emitted) - {kept_ms}")
            for feature in models.features:
                if feature.source == window.name:
                    prepare(feature.name, f"from ({feature.sql}) where feature_id in (select window_id from {window.closing})")
        for feature in self._by_frame:
            prepare(feature.name, feature.sql)
        prepare("emitted", f"delete from {FRAMES}", "update emitted set ms = until_ms")
        over = f"{_end('event_ms', self._longest)} <= ms"
        prepare(
            "forget frames",
            f"delete from open where rowid in (select open.rowid from open join emitted using (kafka_partition) where {over})",
        )

    def _append(self, relation: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Far cheaper than a statement that inserts: nothing is planned."""
        appender = self._appenders[relation]
        appender.append_rows(rows)
        appender.flush()

    def _ends(self, window_ms: int, watermark_ms: int) -> bool:
        """True where a window of this length ends after what was emitted, and no later than the watermark."""
        return any(watermark_ms - watermark_ms % window_ms > ms for ms in self._emitted.values())

    def _features(self, model: FeatureModel, now_ms: int) -> list[Feature]:
        return [_feature(row, model.version, now_ms) for row in self._statements.rows(model.name)]

    def _deleted(self, database: str, rows: int) -> None:
        """In memory, DuckDB keeps rows that were deleted, and reads over them, until a checkpoint."""
        self._dead[database] += rows
        if self._dead[database] >= VACUUM_ROWS:
            self._con.execute(f"checkpoint {database}").fetchall()
            del self._dead[database]


def values_of(row: Mapping[str, Any], fixed: Collection[str]) -> dict[str, float]:
    """The finite numbers among the row's columns, without the ``fixed`` ones."""
    return {name: float(v) for name, v in row.items() if v is not None and name not in fixed and isfinite(v)}


def _feature(row: dict[str, Any], version: str, now_ms: int) -> Feature:
    values = values_of(row, FEATURE_COLUMNS)
    return Feature(**{name: row[name] for name in FEATURE_COLUMNS}, version=version, made_ms=now_ms, values=values)


def _window(row: dict[str, Any], by: Mover) -> Window:
    return Window(**{name: row[name] for name in WINDOW_COLUMNS}, closed_by=by, values=values_of(row, WINDOW_COLUMNS))


def _has_its_id(window: Window) -> bool:
    return window.window_id == f"{window.grain}:{window.key}@{window.start_ms}"


def _window_row(window: Window, model: WindowModel) -> tuple[Any, ...]:
    return (*(getattr(window, name) for name in WINDOW_COLUMNS), *(window.values.get(name) for name in model.columns))


def _raw_row(record: Record) -> tuple[Any, ...]:
    """In the order of ``RAW_COLUMNS``."""
    value = record.value.decode("utf-8", "replace")
    return (record.topic, record.partition, record.offset, record.timestamp_ms, record.key, value, record.traceparent or None)


def _end(event_ms: str, window_ms: int) -> str:
    return f"{event_ms} - {event_ms} % {window_ms} + {window_ms}"
