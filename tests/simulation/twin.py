"""A naive twin of the features service: which rows and windows each of its transactions owes, in plain loops over the log.

The documented rule: a frame belongs to its windows unless they had closed before it was read (``docs/decisions/offsets-are-the-state.md``).
How far windows were closed stands in the note beside each committed position; the checker says where a note claims too much.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from math import fsum, sqrt
from typing import Any

from tests.simulation.evidence import Evidence, Row

MINUTE, HOUR = 60_000, 3_600_000
GRAINS = {"sensor_1m": ("device", MINUTE), "place_1m": ("place_id", MINUTE), "place_1h": ("place_id", HOUR)}
MEASUREMENTS = ("temperature", "humidity", "pressure", "water_flow", "fan_speed")
Span = tuple[str, str, int]
"""Grain, key and start of a window."""


@dataclass(frozen=True)
class Frame:
    """A frame where it stands in the log."""

    row: Row
    body: dict[str, Any]

    @property
    def in_time(self) -> tuple[int, int, int]:
        return (self.body["event_ms"], self.row.partition, self.row.offset)

    def spans(self) -> list[Span]:
        at = self.body["event_ms"]
        return [(grain, self.body[key], at // length * length) for grain, (key, length) in GRAINS.items()]


@dataclass
class Owed:
    """``windows`` and ``frames`` by id, each with the number of the transaction that owes it; ``counts`` as they must have been counted.

    ``late``: frames by id, each with the end of a window that had closed before it was read.
    """

    windows: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    frames: dict[str, tuple[int, Frame]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    late: list[tuple[str, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def owed(evidence: Evidence) -> Owed:
    """What the committed transactions of the features service owe, partition by partition."""
    found = Owed()
    partitions = sorted({place for each in evidence.transactions if each.service == "features" for place in each.positions})
    for place in partitions:
        _Partition(place, evidence, found).run()
    return found


@dataclass
class _Partition:
    """One partition of the frames, followed transaction by transaction."""

    place: tuple[str, int]
    evidence: Evidence
    found: Owed
    position: int = 0
    closed_ms: int = 0
    open: dict[str, Frame] = field(default_factory=dict)

    def run(self) -> None:
        rows = [row for row in self.evidence.rows["stream-frame"] if row.partition == self.place[1]]
        for number, transaction in enumerate(self.evidence.transactions):
            if transaction.service != "features" or self.place not in transaction.positions:
                continue
            position, note = transaction.positions[self.place]
            if position < self.position:
                self.found.wrong.append(f"the position of {self.place} goes back from {self.position} to {position}")
            batch: set[str] = set()
            for row in rows:
                if self.position <= row.offset < position:
                    self._take(number, row, batch)
            self.position = position
            self._close(number, json.loads(note)["emitted_ms"])

    def _take(self, number: int, row: Row, batch: set[str]) -> None:
        """A frame that was late is forgotten with its batch, so that it is late again when it comes again."""
        if row.body is None:
            self.found.counts["rejected"] += 1
            return
        frame, name = Frame(row, row.body), row.body["frame_id"]
        ends = {start + GRAINS[grain][1] for grain, _, start in frame.spans()}
        again = name in self.open or name in batch
        if not again:
            self.found.late += [(name, end) for end in ends if end <= self.closed_ms]
        if again:
            self.found.counts["duplicate"] += 1
        elif max(ends) <= self.closed_ms:
            self.found.counts["late"] += 1
        else:
            self.found.counts["used"] += 1
            self.found.counts["late_for_shortest"] += min(ends) <= self.closed_ms
            self.open[name] = frame
            self.found.frames[f"sensor_frame:{name}"] = (number, frame)
        batch.add(name)

    def _close(self, number: int, until_ms: int) -> None:
        held: dict[Span, list[Frame]] = {}
        for frame in self.open.values():
            for span in frame.spans():
                if self.closed_ms < span[2] + GRAINS[span[0]][1] <= until_ms:
                    held.setdefault(span, []).append(frame)
        for span, frames in held.items():
            window = aggregate(span, frames)
            self.found.windows[window["window_id"]] = (number, window)
        self.closed_ms = max(self.closed_ms, until_ms)
        self.open = {
            name: frame for name, frame in self.open.items() if max(s + GRAINS[g][1] for g, _, s in frame.spans()) > self.closed_ms
        }


def aggregate(span: Span, frames: list[Frame]) -> dict[str, Any]:
    grain, key, start = span
    in_time = sorted(frames, key=lambda frame: frame.in_time)
    in_log = sorted(frames, key=lambda frame: (frame.row.partition, frame.row.offset))
    values: dict[str, float] = {}
    for name in MEASUREMENTS:
        readings = [frame.body["payload"][name] for frame in in_time if name in frame.body["payload"]]
        values[f"{name}_count"] = float(len(readings))
        if readings:
            mean = fsum(readings) / len(readings)
            spread = sqrt(fsum((each - mean) ** 2 for each in readings) / len(readings))
            statistics = {"min": min(readings), "max": max(readings), "avg": mean, "stddev": spread, "last": readings[-1]}
            values |= {f"{name}_{statistic}": value for statistic, value in statistics.items()}
    return {
        "window_id": f"{grain}:{key}@{start}",
        "grain": grain,
        "key": key,
        "place_id": in_time[-1].body["place_id"],
        "start_ms": start,
        "end_ms": start + GRAINS[grain][1],
        "frames": len(frames),
        "first": in_log[0].row.address,
        "last": in_log[-1].row.address,
        "values": values,
    }


def lookback(window: dict[str, Any], windows: list[dict[str, Any]]) -> dict[str, float]:
    """What a minute's feature row derives from the windows of its key in the quarter of an hour before, itself included."""
    start = window["start_ms"]
    back = sorted(
        (each["start_ms"] - start, each["values"])
        for each in windows
        if (each["grain"], each["key"]) == (window["grain"], window["key"]) and 0 <= start - each["start_ms"] <= 15 * MINUTE
    )
    found = {"lookback_minutes": float(len(back))}
    for name in ("temperature", "humidity"):
        points = [(ms / HOUR, values[f"{name}_avg"]) for ms, values in back if f"{name}_avg" in values]
        if len(points) > 1:
            middle = fsum(x for x, _ in points) / len(points), fsum(y for _, y in points) / len(points)
            over = fsum((x - middle[0]) * (y - middle[1]) for x, y in points)
            found[f"{name}_slope"] = over / fsum((x - middle[0]) ** 2 for x, _ in points)
    earlier = [values["pressure_avg"] for ms, values in back if ms < 0 and "pressure_avg" in values]
    if earlier and "pressure_avg" in window["values"]:
        found["pressure_delta"] = window["values"]["pressure_avg"] - earlier[0]
    return found
