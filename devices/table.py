"""A table of recorded readings as a source of frames, with the times it was recorded at or shifted to now.

Shifted, the last row of history falls on the present and the rows kept for live play follow at their distance from it, divided by the
speed.
"""

import csv
import gzip
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import NamedTuple, TextIO

from devices.mapping import Recording, TableMapping, TimeColumn
from devices.outgoing import Outgoing, broken, plain
from mliot.errors import DeclarationError, Rejected
from mliot.frames import parse_frame
from mliot.measurements import Measurement


class Row(NamedTuple):
    """A row's time in ms and its readings by measurement."""

    at_ms: int
    readings: Mapping[str, float]


def read_rows(recording: Recording) -> list[Row]:
    """The table's rows in time order; empty and NaN cells are left out, and rows without any reading.

    Raises :class:`DeclarationError`: file, line, column and what is allowed there.
    """
    rows = []
    try:
        with _open(recording) as file:
            reader = csv.reader(file, delimiter=recording.mapping.delimiter)
            header = next(reader, [])
            _check_columns(recording, header)
            for cells in reader:
                named = cells[1:] if len(cells) == len(header) + 1 else cells  # R writes row names under no heading
                try:
                    row = _row(recording.mapping, dict(zip(header, named, strict=False)))
                except ValueError as error:
                    raise DeclarationError(f"{recording.table}: line {reader.line_num}: {error}") from error
                if row.readings:
                    rows.append(row)
    except OSError as error:
        raise DeclarationError(f"{recording.table}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{recording.table}: is not UTF-8 text") from error
    if not rows:
        raise DeclarationError(f"{recording.table}: holds no readings")
    return sorted(rows, key=lambda row: row.at_ms)


def shifted(rows: Sequence[Row], *, live_rows: int, speed: float, now_ms: int, align_ms: int = 1) -> list[int]:
    """Event times in ms that bring ``rows`` to the present.

    All but the last ``live_rows`` end at ``now_ms`` rounded down to ``align_ms``, at their own distances; the last ones follow, ``speed``
    times as fast.
    """
    last = rows[max(0, len(rows) - live_rows - 1)].at_ms
    present = now_ms // align_ms * align_ms
    return [present + (row.at_ms - last if row.at_ms <= last else round((row.at_ms - last) / speed)) for row in rows]


class Table:
    """The frames of a recording whose row number i tells of ``times[i]`` (ms)."""

    def __init__(self, recording: Recording, rows: Sequence[Row], times: Sequence[int], measurements: Mapping[str, Measurement]) -> None:
        self._mapping = recording.mapping
        self._rows = rows
        self.times = times
        self._measurements = measurements

    def frames(self, after_ms: int, to_ms: int) -> Iterator[Outgoing]:
        """Those with ``after_ms`` < event time <= ``to_ms``, in time order."""
        for index in range(bisect_right(self.times, after_ms), bisect_right(self.times, to_ms)):
            yield self._frame(self._rows[index], self.times[index])

    def _frame(self, row: Row, at_ms: int) -> Outgoing:
        mapping = self._mapping
        payload = {**row.readings, "timestamp": at_ms}
        body = {"id": mapping.device, "name": mapping.device, "place_id": mapping.place_id, "payload": payload}
        sound = plain(body, mapping.mqtt_topic, mapping.device, at_ms)
        try:  # a table may hold what is implausible: it is sent, and known to end as a dead letter
            parse_frame(sound.message, mqtt_topic=sound.topic, arrived_ms=at_ms, measurements=self._measurements, retention_ms=0)
        except Rejected:
            return broken(sound, sound.message)
        return sound


def _open(recording: Recording) -> TextIO:
    if recording.table.suffix == ".gz":
        return gzip.open(recording.table, "rt", encoding="utf-8", newline="")
    return recording.table.open(encoding="utf-8", newline="")


def _check_columns(recording: Recording, found: Sequence[str]) -> None:
    for column in (recording.mapping.time.column, *recording.mapping.columns):
        if column not in found:
            raise DeclarationError(f"{recording.table}: has no column {column!r}; it has {', '.join(map(repr, found))}")


def _row(mapping: TableMapping, cells: Mapping[str, str]) -> Row:
    readings = {}
    for name, column in mapping.columns.items():
        cell = cells.get(name, "").strip()
        if cell:
            try:
                value = float(cell) * column.scale + column.offset
            except ValueError as error:
                raise ValueError(f"column {name!r}: {cell!r} is not a number") from error
            if isfinite(value):
                readings[column.measurement] = value
    return Row(_time_ms(mapping.time, cells.get(mapping.time.column, "").strip()), readings)


def _time_ms(time: TimeColumn, cell: str) -> int:
    try:
        match time.format:
            case "seconds":
                return round(float(cell) * 1000)
            case "milliseconds":
                return round(float(cell))
            case "iso":
                at = datetime.fromisoformat(cell)
            case pattern:
                at = datetime.strptime(cell, pattern)  # noqa: DTZ007 (the pattern may have a zone; without one it is UTC)
    except ValueError as error:
        raise ValueError(f"column {time.column!r}: {cell!r} is no time in the format {time.format!r}") from error
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
