"""Reads from the store what belongs to one id, for :mod:`lineage.trace`."""

from collections.abc import Sequence
from typing import Any, get_args

from psycopg import sql

from lineage.chain import Chain, Kind, M, Stored, Subject, WindowFrames
from lineage.letters import find_letters, unique
from lineage.store import Store
from mliot.grains import Grains, Span
from mliot.messages import Ack, Command, Feature, Frame, Label, Prediction

_FIND = """
select 'frame' as kind, id from mliot.frame where id = %(id)s
union all select 'feature', id from mliot.feature where id = %(id)s
union all select 'prediction', id from mliot.prediction where id = %(id)s
union all select 'command', command_id from mliot.command where command_id = %(id)s or id = %(id)s
union all select 'feature', feature_id from mliot.label where id = %(id)s
limit 1
"""
_SHORTEST_LETTER = 6
"""Fewer digits of a dead letter's id than this could be anything."""


def find(store: Store, grains: Grains, id: str) -> Subject | None:
    """What ``id`` is the id of; a window that is still open counts where a frame of it is stored; else None.

    A command's state leads to its command, a label to its feature row, the first digits of a dead letter's id to that letter.
    """
    row = store.execute(_FIND, {"id": id}).fetchone()
    if row is not None:
        assert row["kind"] in get_args(Kind)
        return Subject(row["kind"], row["id"])
    span = grains.window(id)
    if span is not None and _count(store, span):
        return Subject("feature", id)
    if len(id) >= _SHORTEST_LETTER:
        letter = unique(find_letters(store, id), id)
        if letter is not None:
            return Subject("deadletter", letter.letter.dead_id)
    return None


def last_frame(store: Store, device: str) -> Subject | None:
    """The newest frame of ``device`` by event time, or None where none is stored."""
    row = store.execute(
        "select id from mliot.frame where device = %s order by event_ms desc, stored_ms desc, id limit 1", [device]
    ).fetchone()
    return None if row is None else Subject("frame", row["id"])


def read_chain(store: Store, grains: Grains, subject: Subject, *, listed: int) -> Chain:
    """Everything stored around ``subject``: up to its frames (the first ``listed`` of a window), down to the acks."""
    if subject.kind == "deadletter":
        return Chain(subject, letter=unique(find_letters(store, subject.id), subject.id))
    commands: list[Stored[Command]] = []
    predictions: list[Stored[Prediction]] = []
    frame: Stored[Frame] | None = None
    feature_ids = [subject.id]
    if subject.kind == "command":
        commands = _rows(store, Command, "command_id", [subject.id])
        predictions = _rows(store, Prediction, "id", [commands[0].message.prediction_id])
        feature_ids = [p.message.feature_id for p in predictions]
    elif subject.kind == "prediction":
        predictions = _rows(store, Prediction, "id", [subject.id])
        feature_ids = [predictions[0].message.feature_id]
    elif subject.kind == "frame":
        frame = _one(_rows(store, Frame, "id", [subject.id]))
        assert frame is not None, subject
        m = frame.message
        feature_ids = [*grains.rows_of_frame(m.frame_id), *(span.id for span in grains.windows_of(m.device, m.place_id, m.event_ms))]
    features = _rows(store, Feature, "id", feature_ids)
    window: WindowFrames | None = None
    if subject.kind != "frame" and feature_ids:
        frame, window = _above(store, grains, feature_ids[0], listed)
    if subject.kind in ("frame", "feature"):
        predictions = _rows(store, Prediction, "feature_id", feature_ids)
    if subject.kind != "command":
        commands = _rows(store, Command, "prediction_id", [p.message.prediction_id for p in predictions])
    return Chain(
        subject,
        frame=frame,
        window=window,
        features=tuple(features),
        closed_by=_closed_by(store, feature_ids),
        predictions=tuple(predictions),
        labels=tuple(_rows(store, Label, "feature_id", feature_ids)),
        commands=tuple(commands),
        acks=tuple(_rows(store, Ack, "id", sorted({c.message.command_id for c in commands}))),
        champions=_champions(store) if subject.kind in ("frame", "feature") else {},
    )


def _rows(store: Store, kind: type[M], column: str, values: Sequence[str]) -> list[Stored[M]]:
    if not values:
        return []
    table = kind.topic_name.removeprefix("stream-")
    query = sql.SQL("select * from {} where {} = any(%s) order by stored_ms, id").format(
        sql.Identifier("mliot", table), sql.Identifier(column)
    )
    return [Stored.of(kind, row) for row in store.execute(query, [list(values)])]


def _one(rows: list[Stored[M]]) -> Stored[M] | None:
    return rows[0] if rows else None


def _above(store: Store, grains: Grains, feature_id: str, listed: int) -> tuple[Stored[Frame] | None, WindowFrames | None]:
    """What a feature row was made of: its one frame, or the frames of its window."""
    frame_id = grains.frame_of(feature_id)
    if frame_id is not None:
        return _one(_rows(store, Frame, "id", [frame_id])), None
    span = grains.window(feature_id)
    if span is None:
        return None, None
    where, values = frames_within(span)
    query = sql.SQL("select * from mliot.frame where {} order by event_ms, id limit %s").format(where)
    frames = tuple(Stored.of(Frame, row) for row in store.execute(query, [*values, listed]))
    return None, WindowFrames(span, _count(store, span), frames)


def _count(store: Store, span: Span) -> int:
    where, values = frames_within(span)
    row = store.execute(sql.SQL("select count(*) as frames from mliot.frame where {}").format(where), values).fetchone()
    assert row is not None
    return int(row["frames"])


def frames_within(span: Span) -> tuple[sql.Composed, list[Any]]:
    """What tells the frames of a window, by event time: a condition on the table of frames, and its values."""
    key = span.grain.values(span.key)
    where = sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in key)
    return sql.SQL("{} and event_ms >= %s and event_ms < %s").format(where), [*key.values(), span.start_ms, span.end_ms]


def _closed_by(store: Store, ids: Sequence[str]) -> dict[str, str]:
    rows = store.execute('select id, closed_by from mliot."window" where id = any(%s)', [list(ids)])
    return {row["id"]: row["closed_by"] for row in rows}


def _champions(store: Store) -> dict[str, int]:
    rows = store.execute("select use_case, min(made_ms) as first_ms from mliot.prediction where not shadow group by use_case")
    return {row["use_case"]: row["first_ms"] for row in rows}
