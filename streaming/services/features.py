"""Frames to feature rows: the SQL that dbt compiled runs on live micro-batches.

Two facts make it exactly once: what is emitted, the read position and the watermark travel in one transaction; and the state is a
function of the log, so a restart rereads the frames of the windows that were open and emits nothing twice.
"""

from collections.abc import Mapping

import msgspec

from mliot.featuremodels import load_feature_models
from mliot.messages import Frame, Window, decode, readable, traceparent_of
from mliot.settings import Settings
from streaming.features.labels import LabelSource, label_sources, labels_in
from streaming.features.openwindows import Added, Closed, OpenWindows
from streaming.features.watermark import Watermark
from streaming.process import main, serve
from streaming.runtime.effects import Assignment, Batch, Commit, Effects, Open, Outcome, Partition, Position, Read, Recall, Record, Seek
from usecases import load_use_cases
from warehouse.dbt import compile_for_stream

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
            out.reject_record(record, why_no_frame(record.value))
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


def why_no_frame(value: bytes) -> str:
    """Why the SQL left this record out."""
    try:
        decode(Frame, value)
    except msgspec.DecodeError as error:
        return f"not a frame: {error}"
    return "not a frame that the bridge writes: a name outside the alphabet, or a reading out of its measurement's range"


def features(windows: OpenWindows, sources: tuple[LabelSource, ...], *, rows: int, fill_ms: int, grace_ms: int, idle_ms: int) -> Effects:
    """Rebuild from the log, then: read, add, close what the watermark reached, commit."""
    assignment: Assignment = yield Open((FRAMES,))
    notes = {partition: Note.read(position) for partition, position in assignment.items()}
    at = {partition: position.offset for partition, position in assignment.items()}
    windows.start({partition.number: note.emitted_ms for partition, note in notes.items()})
    emitted_ms = min(note.emitted_ms for note in notes.values())
    numbers = tuple(sorted(partition.number for partition in assignment))
    past: list[Record] = yield Recall(WINDOWS, numbers, max(0, emitted_ms - windows.longest_lookback_ms))
    windows.recall(list(readable(Window, (record.value for record in past))))
    yield Seek({partition: note.oldest for partition, note in notes.items()})
    batch: Batch = yield Read(rows, fill_ms=fill_ms)
    watermark = Watermark(grace_ms, idle_ms, started_ms=batch.now_ms, ms=emitted_ms)
    behind = {partition: note.oldest for partition, note in notes.items() if note.oldest < at[partition]}
    while True:
        added = _add(windows, batch, at, watermark)
        behind = batch.still_behind(behind, at)
        closed = Closed()
        if not behind:  # else a window would close without frames of its own that were read, and counted, before the restart
            closed = windows.close(watermark.advance(assignment, batch.at_end, batch.now_ms), watermark.by, batch.now_ms)
        at |= {p: max(at[p], position.offset) for p, position in batch.positions().items()}
        out = decide(batch, added, closed, sources)
        if added is not None or closed.moved:  # what is late is decided by the watermark that was committed, also where no window closed
            yield Commit(out, positions(windows, at, behind))
        batch = yield Read(rows, fill_ms=fill_ms)


def positions(windows: OpenWindows, at: Mapping[Partition, int], behind: Mapping[Partition, int]) -> dict[Partition, Position]:
    """The positions to commit, each with its note; a partition that is ``behind`` is still to be read again from the offset given there."""
    oldest = windows.oldest_needed()
    needed = {partition: behind.get(partition, oldest.get(partition.number, offset)) for partition, offset in at.items()}
    return {
        partition: Position(offset, Note(min(offset, needed[partition]), windows.emitted_ms[partition.number]).write())
        for partition, offset in at.items()
    }


def _add(windows: OpenWindows, batch: Batch, at: Mapping[Partition, int], watermark: Watermark) -> Added | None:
    """Adds the batch; None where it held nothing that was not read before a restart."""
    fresh: Added | None = None
    before = {partition.number: offset for partition, offset in at.items()}
    reread = [record for record in batch.records if record.offset < before[record.partition]]
    new = [record for record in batch.records if record.offset >= before[record.partition]]
    for past, records in ((True, reread), (False, new)):
        if records:
            added = windows.add(records, past=past, now_ms=batch.now_ms)
            watermark.observe({Partition(FRAMES, number): ms for number, ms in added.reached_ms.items()}, batch.now_ms)
            fresh = None if past else added
    return fresh


def run(settings: Settings) -> None:
    """The features service as a process, until it is told to stop."""
    models = load_feature_models(compile_for_stream(settings))
    sources = label_sources(load_use_cases(settings.usecases), models)
    grace_ms, idle_ms = round(settings.grace_s * 1000), round(settings.idle_s * 1000)
    with OpenWindows(models) as windows:
        serve(
            settings,
            "features",
            lambda: features(windows, sources, rows=settings.batch_rows, fill_ms=settings.commit_ms, grace_ms=grace_ms, idle_ms=idle_ms),
        )


if __name__ == "__main__":
    main(run, "features")
