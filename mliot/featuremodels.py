"""The feature models that dbt compiled for the stream: their SQL, unchanged, and what the stream must know to run it.

``warehouse.dbt.compile_for_stream`` writes a manifest; :func:`load_feature_models` reads it. The SQL names relations of a
database called ``warehouse``, and :func:`create_stream_schema` makes them in memory, so that the very text that ``dbt build`` runs
over history runs here:

1. insert a batch's records into ``RAW_FRAME``, then ``insert into STG_FRAMES`` the rows of ``staging_sql`` and empty ``RAW_FRAME``;
2. ``STG_FRAMES`` holds the frames of open windows; ``FRAMES`` is a view over it that drops duplicates;
3. once windows close, ``insert into <window.relation> select * from (<window.sql>) where end_ms <= ...``;
4. ``select * from (<feature.sql>) where start_ms >= ...`` yields the feature rows of the newly closed windows; rows of its source
   must be kept for ``feature.lookback_ms`` before the oldest start that is still to come, no longer. Where ``<window.closing>`` is made a
   table that holds the newly closed windows alone, lookbacks are computed for them only;
5. delete what no open window and no lookback needs.

A feature row depends on the rows of its source within ``lookback_ms`` and on nothing else, so batch and stream give the same bits.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import duckdb

from mliot.errors import DeclarationError

RAW_FRAME = '"warehouse"."raw"."frame"'
STG_FRAMES = '"warehouse"."staging"."stg_frames"'
FRAMES = '"warehouse"."staging"."frames"'

RAW_COLUMNS: Mapping[str, str] = {
    "kafka_topic": "VARCHAR",
    "kafka_partition": "INTEGER",
    "kafka_offset": "BIGINT",
    "kafka_ms": "BIGINT",
    "key": "VARCHAR",
    "value": "VARCHAR",
    "traceparent": "VARCHAR",
}
"""Columns and types of every table in the schema ``raw``: one row is one Kafka record."""

KEYS = (("place_id",), ("device",), ("place_id", "device"))
"""The columns of a frame that may make a window's key."""
KEY_SEPARATOR = "/"
"""Between the columns of a key (``window_grain`` in ``dbt/macros/windows.sql``); no name holds one."""
_GRAIN = re.compile(r"[a-z][a-z0-9_]{0,39}")

_ROW = ("grain", "key", "place_id", "start_ms", "end_ms", "frames", "first", "last")
WINDOW_COLUMNS = ("window_id", *_ROW)
"""What a window row has before its values."""
FEATURE_COLUMNS = ("feature_id", "model", *_ROW)
"""What a feature row has before its values."""


@dataclass(frozen=True)
class CompiledModel:
    """One dbt model as compiled: ``columns`` are its value columns in order, ``version`` changes with its SQL or a model's that it reads.

    ``relation`` is the quoted table of its rows, ``source`` the name of the model it reads, ``window_ms`` 0 where a row is one frame.
    ``key`` names the columns of a frame that tell whose row it is in.
    """

    name: str
    relation: str
    grain: str
    key: tuple[str, ...]
    window_ms: int
    lookback_ms: int
    source: str
    sql: str
    columns: tuple[str, ...]
    version: str


class WindowModel(CompiledModel):
    """Aggregates over closed windows; reads ``frames``."""

    @property
    def closing(self) -> str:
        """The quoted relation of the windows whose feature rows are asked for (``closing`` in ``dbt/macros/windows.sql``)."""
        return f'{self.relation.removesuffix(chr(34))}_closing"'


class FeatureModel(CompiledModel):
    """What models see; reads ``frames``, or a window model whose grain it has."""


@dataclass(frozen=True)
class FeatureModels:
    """All that the stream runs. Windows stand before the features that read them; each group is sorted by name."""

    staging_sql: str
    frames_sql: str
    windows: tuple[WindowModel, ...]
    features: tuple[FeatureModel, ...]

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The version of each feature model, by name."""
        return {model.name: model.version for model in self.features}

    @cached_property
    def columns(self) -> Mapping[str, frozenset[str]]:
        """The value columns of each feature model, by name."""
        return {model.name: frozenset(model.columns) for model in self.features}

    def feature(self, name: str) -> FeatureModel:
        """The feature model called ``name``. Raises :class:`DeclarationError` with the names there are."""
        for model in self.features:
            if model.name == name:
                return model
        raise DeclarationError(f"no feature model {name!r}; there are {', '.join(model.name for model in self.features)}")

    def window(self, grain: str) -> WindowModel:
        """The window model of ``grain``. Raises :class:`DeclarationError` with the grains there are."""
        for model in self.windows:
            if model.grain == grain:
                return model
        raise DeclarationError(f"no windows of grain {grain!r}; there are {', '.join(model.grain for model in self.windows)}")

    def windows_like(self, features: FeatureModel, *, of_devices: bool) -> WindowModel | None:
        """The windows as long as the rows of ``features``, of single devices or of places; None where there are none."""
        like = [model for model in self.windows if model.window_ms == features.window_ms and ("device" in model.key) == of_devices]
        return next((model for model in like if model.name == features.source), like[0] if like else None)


def load_feature_models(manifest: Path) -> FeatureModels:
    """The models in dbt's ``manifest`` of target ``stream``. Raises :class:`DeclarationError` that names the file and what is wrong."""
    try:
        document = json.loads(manifest.read_text())
    except OSError as error:
        raise DeclarationError(f"{manifest}: cannot be read: {error.strerror}; `mliot up` writes it") from error
    except ValueError as error:
        raise DeclarationError(f"{manifest}: is not JSON: {error}; `mliot up` writes it anew") from error
    return read_feature_models(document["nodes"])


def read_feature_models(nodes: Mapping[str, Any]) -> FeatureModels:
    """The models among a manifest's ``nodes``. Raises :class:`DeclarationError` where one has no compiled SQL or no such meta."""
    models = (node for node in nodes.values() if node["resource_type"] == "model")
    compiled = {node["name"]: node for node in models if node["schema"] in ("staging", "features")}
    for name, node in compiled.items():
        if not node.get("compiled_code"):
            raise DeclarationError(f"dbt model {name} is not compiled in the manifest; `dbt parse` erases it, compile again")
    with duckdb.connect() as con:
        _create_staging(con, _sql(compiled, "stg_frames"), _sql(compiled, "frames"))
        windows = tuple(WindowModel(**_fields(con, compiled, name, WINDOW_COLUMNS, _window_grain)) for name in _of_kind(compiled, "window"))
        for window in windows:
            _create_window(con, window)
        grain_of = partial(_feature_grain, {window.name: window for window in windows})
        features = tuple(FeatureModel(**_fields(con, compiled, name, FEATURE_COLUMNS, grain_of)) for name in _of_kind(compiled, "feature"))
    _check_one_a_grain(windows)
    _check_multiples(windows)
    _check_one_a_grain(features)
    return FeatureModels(_sql(compiled, "stg_frames"), _sql(compiled, "frames"), windows, features)


def create_stream_schema(
    con: duckdb.DuckDBPyConnection, models: FeatureModels, *, table: Literal["stg_frames", "frames"] = "stg_frames"
) -> None:
    """Attaches an empty ``warehouse`` in memory to ``con``: ``RAW_FRAME``, ``STG_FRAMES`` and windows as tables, ``FRAMES`` as a view.

    With ``table="frames"`` it is the other way round, as in the warehouse: ``STG_FRAMES`` is a view over ``RAW_FRAME``, and ``FRAMES`` a
    table to be filled without duplicates; so they are looked for once, however often ``FRAMES`` is read. Then each
    window's ``closing`` is a table too, to be filled; else it is a view of all its windows, as in the warehouse.
    """
    _create_staging(con, models.staging_sql, models.frames_sql, table)
    for window in models.windows:
        _create_window(con, window, "table" if table == "frames" else "view")


def _create_window(con: duckdb.DuckDBPyConnection, window: WindowModel, closing: Literal["table", "view"] = "view") -> None:
    con.execute(f"create table {window.relation} as from ({window.sql}) limit 0")
    con.execute(f"create {closing} {window.closing} as from {window.relation}")


def _create_staging(con: duckdb.DuckDBPyConnection, staging_sql: str, frames_sql: str, table: str = "stg_frames") -> None:
    con.execute("attach ':memory:' as warehouse")
    for schema in ("raw", "staging", "features"):
        con.execute(f"create schema warehouse.{schema}")
    con.execute(f"create table {RAW_FRAME} ({', '.join(f'{name} {kind}' for name, kind in RAW_COLUMNS.items())})")
    for name, relation, sql in (("stg_frames", STG_FRAMES, staging_sql), ("frames", FRAMES, frames_sql)):
        con.execute(f"create {'table' if name == table else 'view'} {relation} as {sql}")


def _of_kind(compiled: Mapping[str, Any], kind: str) -> list[str]:
    return sorted(name for name, node in compiled.items() if node["config"]["meta"].get("kind") == kind)


def _sql(compiled: Mapping[str, Any], name: str) -> str:
    if name not in compiled:
        raise DeclarationError(f"dbt model {name} is missing in the manifest; it holds {', '.join(sorted(compiled)) or 'none'}")
    return str(compiled[name]["compiled_code"]).strip()


Meta = Mapping[str, Any]


def _fields(
    con: duckdb.DuckDBPyConnection,
    compiled: Mapping[str, Any],
    name: str,
    fixed: tuple[str, ...],
    grain_of: Callable[[str, Meta], dict[str, Any]],
) -> dict[str, Any]:
    meta = compiled[name]["config"]["meta"]
    _require(name, meta, {"lookback_s", "source"})
    grain = grain_of(name, meta)
    sql = _sql(compiled, name)
    columns = tuple(row[0] for row in con.execute(f"describe from ({sql})").fetchall())
    if columns[: len(fixed)] != fixed:
        raise DeclarationError(f"dbt model {name}: must begin with the columns {', '.join(fixed)}")
    return {
        "name": name,
        "relation": compiled[name]["relation_name"],
        "lookback_ms": meta["lookback_s"] * 1000,
        "source": meta["source"],
        "sql": sql,
        "columns": columns[len(fixed) :],
        "version": _version(_sql(compiled, each) for each in _lineage(compiled, name)),
        **grain,
    }


def _window_grain(name: str, meta: Meta) -> dict[str, Any]:
    """Grain, key and length as a window model declares them."""
    _require(name, meta, {"grain", "key", "window_s"})
    grain, key, window_s = meta["grain"], meta["key"], meta["window_s"]
    if not isinstance(grain, str) or not _GRAIN.fullmatch(grain):
        raise DeclarationError(f"dbt model {name}: grain {grain!r} may hold small letters, digits and _, and begins with a letter")
    if not isinstance(key, list) or tuple(key) not in KEYS:
        raise DeclarationError(f"dbt model {name}: key {key!r} must be one of {', '.join(repr(list(each)) for each in KEYS)}")
    if type(window_s) is not int or window_s < 1:
        raise DeclarationError(f"dbt model {name}: window_s {window_s!r} must be a whole number of seconds, 1 or more")
    return {"grain": grain, "key": tuple(key), "window_ms": window_s * 1000}


def _feature_grain(windows: Mapping[str, WindowModel], name: str, meta: Meta) -> dict[str, Any]:
    """Those of the windows that a feature model reads; one over single frames names its own grain."""
    window = windows.get(meta["source"])
    if window is not None:
        return {"grain": window.grain, "key": window.key, "window_ms": window.window_ms}
    if meta["source"] != "frames":
        raise DeclarationError(f"dbt model {name}: source {meta['source']!r} must be frames or one of {', '.join(windows)}")
    _require(name, meta, {"grain"})
    return {"grain": meta["grain"], "key": ("device",), "window_ms": 0}


def _require(name: str, meta: Meta, wanted: set[str]) -> None:
    missing = wanted - meta.keys()
    if missing:
        raise DeclarationError(f"dbt model {name}: config meta lacks {', '.join(sorted(missing))}")


def _check_multiples(windows: Sequence[WindowModel]) -> None:
    """The stream closes windows where the shortest end, and nowhere else."""
    shortest = min((window.window_ms for window in windows), default=1)
    for window in windows:
        if window.window_ms % shortest:
            raise DeclarationError(
                f"dbt model {window.name}: window_s must be a multiple of the shortest, {shortest // 1000} s; "
                f"{window.window_ms // 1000} is none"
            )


def _check_one_a_grain(models: Sequence[CompiledModel]) -> None:
    """A row's id is made of its grain: two models of one would make the same ids."""
    first: dict[str, CompiledModel] = {}
    for model in models:
        other = first.setdefault(model.grain, model)
        if other is not model:
            raise DeclarationError(
                f"dbt models {other.name} and {model.name} are both of grain {model.grain}; a grain has one of each kind"
            )


def _lineage(compiled: Mapping[str, Any], name: str) -> list[str]:
    """``name`` and every model that it reads, however far up, sorted."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            parents = (parent.rsplit(".", 1)[-1] for parent in compiled[each]["depends_on"]["nodes"] if parent.startswith("model."))
            waiting.extend(parent for parent in parents if parent in compiled)
    return sorted(found)


def _version(texts: Iterable[str]) -> str:
    digest = blake2b(digest_size=6)
    for text in texts:
        digest.update(" ".join(text.split()).encode() + b"\0")
    return digest.hexdigest()
