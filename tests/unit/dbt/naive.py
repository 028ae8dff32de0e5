"""A slow twin that judges the SQL: frames deduplicated, windows and features in plain loops, and a comparison of every value.

``naive_models(log)`` and :func:`compare` take any producer's rows: dbt's over history, the stream's as it emitted them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import cos, exp, fsum, isclose, log, pi, sin, sqrt

Row = dict[str, object]
Rows = dict[str, Row]
"""Rows by their id."""

MINUTE, HOUR = 60_000, 3_600_000
EXACT = ("_count", "_min", "_max", "_last")
"""Statistics that no rounding enters."""


@dataclass(frozen=True)
class Logged:
    """A frame in the log: ``payload`` holds what it carried, known measurements and others."""

    partition: int
    offset: int
    frame_id: str
    device: str
    place_id: str
    event_ms: int
    payload: Mapping[str, float]

    @property
    def address(self) -> str:
        return f"stream-frame-{self.partition}-{self.offset}"

    @property
    def in_time(self) -> tuple[int, int, int]:
        return (self.event_ms, self.partition, self.offset)


@dataclass
class Comparison:
    """How many values were compared, and each one that differs."""

    compared: int = 0
    differ: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.compared} values compared, {len(self.differ)} differ"


def naive_models(frames: Iterable[Logged], measurements: Iterable[str]) -> dict[str, Rows]:
    """Every feature and window model over the log ``frames``, rows by id."""
    names = list(measurements)
    once = deduplicated(frames)
    sensor, place, hour = (windows(once, names, *how) for how in (("sensor_1m", MINUTE), ("place_1m", MINUTE), ("place_1h", HOUR)))
    return {
        "windows_sensor_1m": sensor,
        "windows_place_1m": place,
        "windows_place_1h": hour,
        "features_sensor_frame": {f"sensor_frame:{frame.frame_id}": frame_features(frame, names) for frame in once},
        "features_sensor_1m": minute_features("features_sensor_1m", sensor),
        "features_place_1m": minute_features("features_place_1m", place),
        "features_place_1h": hour_features(hour),
    }


def deduplicated(frames: Iterable[Logged]) -> list[Logged]:
    first: dict[str, Logged] = {}
    for frame in sorted(frames, key=lambda each: (each.partition, each.offset)):
        first.setdefault(frame.frame_id, frame)
    return list(first.values())


def windows(frames: Iterable[Logged], names: list[str], grain: str, length: int) -> Rows:
    held: dict[tuple[str, int], list[Logged]] = {}
    for frame in frames:
        key = frame.device if grain == "sensor_1m" else frame.place_id
        held.setdefault((key, frame.event_ms // length * length), []).append(frame)
    rows: Rows = {}
    for (key, start), inside in held.items():
        in_time = sorted(inside, key=lambda frame: frame.in_time)
        in_log = sorted(inside, key=lambda frame: (frame.partition, frame.offset))
        row: Row = {
            "window_id": f"{grain}:{key}@{start}",
            "grain": grain,
            "key": key,
            "place_id": in_time[-1].place_id,
            "start_ms": start,
            "end_ms": start + length,
            "frames": len(inside),
            "first": in_log[0].address,
            "last": in_log[-1].address,
        }
        for name in names:
            row |= statistics(name, [frame.payload[name] for frame in in_time if name in frame.payload])
        rows[f"{grain}:{key}@{start}"] = row
    return rows


def statistics(name: str, values: list[float]) -> Row:
    if not values:
        return {f"{name}_count": 0.0, **{f"{name}_{each}": None for each in ("min", "max", "avg", "stddev", "last")}}
    mean = fsum(values) / len(values)
    return {
        f"{name}_count": float(len(values)),
        f"{name}_min": min(values),
        f"{name}_max": max(values),
        f"{name}_avg": mean,
        f"{name}_stddev": sqrt(fsum((value - mean) ** 2 for value in values) / len(values)),
        f"{name}_last": values[-1],
    }


def frame_features(frame: Logged, names: list[str]) -> Row:
    values: Row = {name: frame.payload.get(name) for name in names}
    return {
        "feature_id": f"sensor_frame:{frame.frame_id}",
        "model": "features_sensor_frame",
        "grain": "sensor_frame",
        "key": frame.device,
        "place_id": frame.place_id,
        "start_ms": frame.event_ms,
        "end_ms": frame.event_ms,
        "frames": 1,
        "first": frame.address,
        "last": frame.address,
        **values,
        **soft_sensors(values["temperature"], values["humidity"], ""),
    }


def soft_sensors(temperature: object, humidity: object, suffix: str) -> Row:
    names = [f"{name}{suffix}" for name in ("dew_point", "vapour_pressure_deficit", "absolute_humidity")]
    if not isinstance(temperature, float) or not isinstance(humidity, float):
        return dict.fromkeys(names)
    saturated = 6.1094 * exp(17.625 * temperature / (243.04 + temperature))  # hPa
    dew_point = None
    if humidity > 0:
        actual = saturated * humidity / 100
        x = log(actual / 6.1094)
        dew_point = 243.04 * x / (17.625 - x)
    deficit = (saturated - saturated * humidity / 100) / 10
    absolute = saturated * 100 * humidity / 100 * 1000 / (461.5 * (temperature + 273.15))
    return dict(zip(names, (dew_point, deficit, absolute), strict=True))


def minute_features(model: str, source: Rows) -> Rows:
    rows: Rows = {}
    for window_id, window in source.items():
        grain, key, start = window["grain"], window["key"], window["start_ms"]
        assert isinstance(start, int)
        recent = [(back, row) for back in range(15, -1, -1) if (row := source.get(f"{grain}:{key}@{start - back * MINUTE}"))]
        earlier = [row["pressure_avg"] for back, row in recent if back > 0 and row["pressure_avg"] is not None]
        pressure = window["pressure_avg"]
        rows[window_id] = feature_row(model, window) | {
            **soft_sensors(window["temperature_avg"], window["humidity_avg"], "_avg"),
            "lookback_minutes": float(len(recent)),
            "temperature_slope": slope([(-back / 60, row["temperature_avg"]) for back, row in recent]),
            "humidity_slope": slope([(-back / 60, row["humidity_avg"]) for back, row in recent]),
            "pressure_delta": pressure - earlier[0] if isinstance(pressure, float) and earlier else None,  # type: ignore[operator]
        }
    return rows


def hour_features(source: Rows) -> Rows:
    rows: Rows = {}
    for window_id, window in source.items():
        key, start = window["key"], window["start_ms"]
        assert isinstance(start, int)
        flow = [source.get(f"place_1h:{key}@{start - back * HOUR}", {}).get("water_flow_avg") for back in range(25)]
        day = [value for value in flow[:24] if isinstance(value, float)]
        hour = start // HOUR % 24
        rows[window_id] = feature_row("features_place_1h", window) | {
            **{f"water_flow_lag_{back}": flow[back] for back in (1, 2, 23, 24)},
            "water_flow_mean_24": fsum(day) / len(day) if day else None,
            "hour_sin": sin(2 * pi * hour / 24),
            "hour_cos": cos(2 * pi * hour / 24),
            "weekday": float((start // (24 * HOUR) - 4) % 7),  # 1970-01-05 was a Monday
        }
    return rows


def feature_row(model: str, window: Row) -> Row:
    return {"feature_id": window["window_id"], "model": model, **{name: value for name, value in window.items() if name != "window_id"}}


def slope(points: list[tuple[float, object]]) -> float | None:
    """Least squares, per unit of x; None below two points."""
    held = [(x, y) for x, y in points if isinstance(y, float)]
    if len(held) < 2:
        return None
    x_mean, y_mean = fsum(x for x, _ in held) / len(held), fsum(y for _, y in held) / len(held)
    return fsum((x - x_mean) * (y - y_mean) for x, y in held) / fsum((x - x_mean) ** 2 for x, _ in held)


def compare(model: str, expected: Rows, actual: Rows, into: Comparison) -> Comparison:
    """Adds to ``into`` every value of one model: counts, extremes, ids and times exactly, what is summed to 1e-9 relative."""
    for row_id in expected.keys() | actual.keys():
        if row_id not in expected or row_id not in actual:
            into.compared += 1
            into.differ.append(f"{model} {row_id}: only {'expected' if row_id in expected else 'found'}")
            continue
        wanted, found = expected[row_id], actual[row_id]
        for column in wanted.keys() | found.keys():
            into.compared += 1
            if not _same(column, wanted.get(column, "no column"), found.get(column, "no column")):
                into.differ.append(f"{model} {row_id} {column}: expected {wanted.get(column)!r}, found {found.get(column)!r}")
    return into


def _same(column: str, wanted: object, found: object) -> bool:
    if isinstance(wanted, float) and isinstance(found, float) and not column.endswith(EXACT):
        return isclose(wanted, found, rel_tol=1e-9, abs_tol=1e-9)
    return type(wanted) is type(found) and wanted == found
