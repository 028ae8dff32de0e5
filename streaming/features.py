"""Frames to feature rows: the SQL that dbt compiled runs on live micro-batches.

Two facts make it exactly once: what is emitted, the read position and the watermark travel in one transaction; and the state is a
function of the log, so a restart rereads the frames of the windows that were open and emits nothing twice.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from mliot.featuremodels import FeatureModels, load_feature_models
from mliot.messages import Window, decode, traceparent_of
from mliot.settings import Settings
from mliot.usecase import load_use_cases
from mliot.warehouse.dbt import compile_for_stream
from streaming.labels import LabelSource, label_sources, labels_in
from streaming.openwindows import Added, Closed, OpenWindows
from streaming.ports import Assignment, Batch, Commit, Effects, Open, Outcome, Partition, Position, Read, Recall, Record, Seek
from streaming.process import main, serve
from streaming.watermark import Watermark

FRAMES = "stream-frame"
WINDOWS = Window.topic_name


class Note(msgspec.Struct, frozen=True):
    """What stands beside a committed offset: the oldest offset whose frame is still needed, and the watermark emitted up to."""

    oldest: int
    emitted_ms: int

    @classmethod
    def read(cls, position: Position) -> "Note":
        return msgspec.json.decode(position.note, type=cls) if position.note else cls(position.offset, 0)

    def write(self) -> str:
        return msgspec.json.encode(self).decode()


def decide(batch: Batch, added: Added | None, closed: Closed, sources: tuple[LabelSource, ...]) -> Outcome:
    """The records that a batch amounts to, each kind in the order of event time: dead letters, windows, feature rows, labels. Pure."""
    out = Outcome("features", batch.now_ms)
    if added is not None:
        for record in added.unreadable:
            out.reject_record(record, "not a frame: frame_id, device, place_id or event_ms is missing, or it is not JSON")
        out.counts.update(added.counts)
        out.counts.update(
            read=added.counts["used"] + added.counts["duplicate"] + added.counts["late"] + len(out.refused), rejected=len(out.refused)
        )
    carried = {record.address: record.traceparent for record in batch.records}
    for window in sorted(closed.windows, key=lambda window: (window.end_ms, window.window_id)):
        out.emit(window, window.place_id, traceparent_of(window.window_id), window.end_ms)
    rows = [*(added.features if added else ()), *closed.features]
    for feature in sorted(rows, key=lambda row: (row.end_ms, row.feature_id)):
        traceparent = carried.get(feature.first, "") if feature.grain == "sensor_frame" else ""
        out.emit(feature, feature.place_id, traceparent or traceparent_of(feature.feature_id))
    for label in sorted(labels_in(closed.windows, sources), key=lambda label: (label.label_ms, label.id)):
        out.emit(label, label.place_id, traceparent_of(label.feature_id))
    out.counts.update(windows=len(closed.windows), features=len(rows))
    return out


def features(models: FeatureModels, sources: tuple[LabelSource, ...], *, rows: int, fill_ms: int, grace_ms: int, idle_ms: int) -> Effects:
    """Rebuild from the log, then: read, add, close what the watermark reached, commit."""
    assignment: Assignment = yield Open((FRAMES,))
    notes = {partition: Note.read(position) for partition, position in assignment.items()}
    at = {partition: position.offset for partition, position in assignment.items()}
    with _open_windows(models, {partition.number: note.emitted_ms for partition, note in notes.items()}) as windows:
        emitted_ms = min(note.emitted_ms for note in notes.values())
        numbers = tuple(sorted(partition.number for partition in assignment))
        past: list[Record] = yield Recall(WINDOWS, numbers, max(0, emitted_ms - windows.longest_lookback_ms))
        windows.recall([decode(Window, record.value) for record in past])
        yield Seek({partition: note.oldest for partition, note in notes.items()})
        batch: Batch = yield Read(rows, fill_ms=fill_ms)
        watermark = Watermark(grace_ms, idle_ms, started_ms=batch.now_ms, ms=emitted_ms)
        while True:
            added = _add(windows, batch, at, watermark)
            reached = watermark.advance(assignment, batch.at_end, batch.now_ms)
            closed = windows.close(reached, watermark.by, batch.now_ms)
            at |= {p: max(at[p], position.offset) for p, position in batch.positions().items()}
            out = decide(batch, added, closed, sources)
            if added is not None or out.emits:
                yield Commit(out, positions(windows, at))
            batch = yield Read(rows, fill_ms=fill_ms)


def positions(windows: OpenWindows, at: Mapping[Partition, int]) -> dict[Partition, Position]:
    """The positions to commit, each with its note."""
    oldest = windows.oldest_needed()
    return {
        partition: Position(offset, Note(min(offset, oldest.get(partition.number, offset)), windows.emitted_ms[partition.number]).write())
        for partition, offset in at.items()
    }


def _add(windows: OpenWindows, batch: Batch, at: Mapping[Partition, int], watermark: Watermark) -> Added | None:
    """Adds the batch; None where it held nothing that was not read before a restart."""
    fresh: Added | None = None
    for past in (True, False):
        records = [r for r in batch.records if (r.offset < at[Partition(r.topic, r.partition)]) is past]
        if records:
            added = windows.add(records, past=past, now_ms=batch.now_ms)
            watermark.observe({Partition(FRAMES, number): ms for number, ms in added.latest_event_ms.items()}, batch.now_ms)
            fresh = None if past else added
    return fresh


@contextmanager
def _open_windows(models: FeatureModels, emitted_ms: Mapping[int, int]) -> Iterator[OpenWindows]:
    windows = OpenWindows(models, emitted_ms)
    try:
        yield windows
    finally:
        windows.close_connection()


def run(settings: Settings) -> None:
    """The features service as a process, until it is told to stop."""
    models = load_feature_models(compile_for_stream(settings))
    sources = label_sources(load_use_cases(settings.usecases), models)
    grace_ms, idle_ms = round(settings.grace_s * 1000), round(settings.idle_s * 1000)
    serve(
        settings,
        "features",
        lambda: features(models, sources, rows=settings.batch_rows, fill_ms=settings.commit_ms, grace_ms=grace_ms, idle_ms=idle_ms),
    )


if __name__ == "__main__":
    main(run, "features")
