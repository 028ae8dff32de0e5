"""From an id to the decisions it took part in, and to where their records lie in the log: the store knows both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql

from lineage.decide_again.engine import ONLINE
from lineage.decide_again.past import Address, Asked, Extent
from lineage.store import Store
from lineage.trace_rows import find, frames_within
from mliot.errors import UserError
from mliot.featuremodels import FeatureModels
from mliot.grains import Grains
from mliot.messages import Command, Feature, Frame, Prediction, Window
from mliot.usecase import UseCase
from streaming.services.commands import looks_back_ms

_PREDICTIONS = "select id, feature_id, model_version, address from mliot.prediction where id = any(%s) or feature_id = any(%s)"
_ROWS = "select id, model, grain, key, start_ms, end_ms, address from mliot.feature where id = any(%s)"
_WINDOWS = 'select address from mliot."window" where grain = %s and key = %s and start_ms between %s and %s'
_ORDERED = """
select device, use_case, min(decided_ms) as first_ms, max(decided_ms) as last_ms
from mliot.command where prediction_id = any(%s) group by device, use_case
"""
_COMMANDS = "select address from mliot.command where use_case = %s and device = %s and decided_ms between %s and %s"


def ask(store: Store, id: str, models: FeatureModels, use_cases: Mapping[str, UseCase]) -> Asked:
    """The decisions that ``id`` took part in: of a prediction or command the one, of a frame, window or feature row all.

    Raises :class:`UserError` where there is no such id, or nothing was decided with it yet.
    """
    grains = Grains.of(models)
    subject = find(store, grains, id)
    if subject is None:
        raise UserError(f"{id}: no such id in the store")
    if subject.kind == "deadletter":
        raise UserError(f"{id}: is a dead letter, with which nothing was decided; `mliot deadletter show` shows it")
    rows: list[str] = []
    ids: list[str] = []
    if subject.kind == "prediction":
        ids = [subject.id]
    elif subject.kind == "command":
        ids = [row["prediction_id"] for row in _all(store, "select prediction_id from mliot.command where command_id = %s", subject.id)][:1]
    elif subject.kind == "frame":
        (frame,) = _all(store, "select device, place_id, event_ms from mliot.frame where id = %s", subject.id)
        spans = grains.windows_of(frame["device"], frame["place_id"], frame["event_ms"])
        rows = [*grains.rows_of_frame(subject.id), *(span.id for span in spans)]
    else:
        rows = [subject.id]
    predictions = _all(store, _PREDICTIONS, ids, rows)
    found = _all(store, _ROWS, sorted({*rows, *(p["feature_id"] for p in predictions)}))
    if not found:
        raise UserError(f"{id}: nothing was decided with it yet; its windows are still open")
    extents = {
        Prediction.topic_name: _extent(row["address"] for row in predictions),
        Frame.topic_name: _extent(_frame_addresses(store, found, grains)),
        Window.topic_name: _extent(_window_addresses(store, found, models)),
        Command.topic_name: _extent(_command_addresses(store, [p["id"] for p in predictions], use_cases)),
    }
    if not any(p["model_version"].startswith(ONLINE) for p in predictions):
        extents[Feature.topic_name] = _extent(row["address"] for row in found)
    return Asked(predictions=frozenset(ids), rows=frozenset(row["id"] for row in found if row["id"] in rows), extents=extents)


def _window_addresses(store: Store, rows: Sequence[Mapping[str, Any]], models: FeatureModels) -> Iterable[str]:
    """Of the rows' windows, and of those that they look back on."""
    lookback = {model.name: model.lookback_ms for model in models.features}
    for row in rows:
        begin = row["start_ms"] - lookback.get(row["model"], 0)
        yield from (each["address"] for each in _all(store, _WINDOWS, row["grain"], row["key"], begin, row["start_ms"]))


def _frame_addresses(store: Store, rows: Sequence[Mapping[str, Any]], grains: Grains) -> Iterable[str]:
    """Of the frames of the rows' windows by event time: among them those that came too late."""
    for span in filter(None, (grains.window(row["id"]) for row in rows)):
        where, values = frames_within(span)
        yield from (each["address"] for each in _all(store, sql.SQL("select address from mliot.frame where {}").format(where), *values))


def _command_addresses(store: Store, predictions: Sequence[str], use_cases: Mapping[str, UseCase]) -> Iterable[str]:
    """Of the commands that the predictions became, and of those before them that the rules look at."""
    for one in _all(store, _ORDERED, list(predictions)):
        begin = one["first_ms"] - looks_back_ms(use_cases)
        yield from (each["address"] for each in _all(store, _COMMANDS, one["use_case"], one["device"], begin, one["last_ms"]))


def _extent(addresses: Iterable[str]) -> Extent:
    extent: dict[int, tuple[int, int | None]] = {}
    for _, partition, offset in map(Address.of, addresses):
        first, end = extent.get(partition, (offset, offset + 1))
        extent[partition] = (min(first, offset), max(end or 0, offset + 1))
    return extent


def _all(store: Store, query: str | sql.Composed, *values: Any) -> list[dict[str, Any]]:
    return store.execute(query, values).fetchall()
