"""Which places, use cases and lines belong on the page, and over what span: pure."""

from collections.abc import Iterable, Mapping, Sequence

from dashboard.data.queries import Line, Pair
from dashboard.data.rows import Reading
from mliot.grains import Grains
from mliot.measurements import Measurement
from mliot.usecase import UseCase

WINDOWS_SHOWN = 60
"""A chart spans so many of its use case's windows: an hour of minutes, two and a half days of hours."""


def window_ms(use_case: UseCase | None, grains: Grains) -> int:
    """The length of the use case's windows; of the shortest ones of places where it looks at single frames, and where there is none."""
    grain = grains.of_rows(use_case.features) if use_case else None
    return (grain or grains.shortest_of_places).window_ms


def span_ms(use_case: UseCase | None, grains: Grains) -> int:
    return WINDOWS_SHOWN * window_ms(use_case, grains)


def serving(use_cases: Mapping[str, UseCase], place_id: str, measured: Iterable[str]) -> list[UseCase]:
    """The use cases that predict for a place where something they look at is ``measured``, by name."""
    names = set(measured)
    return [one for one in use_cases.values() if one.serves(place_id) and any(_measurement(column, names) for column in one.columns)]


def reading_line(
    use_case: UseCase | None, measurements: Mapping[str, Measurement], grains: Grains, measured: Iterable[str]
) -> tuple[str, str] | None:
    """Grain and column of the reading to draw beside a use case's predictions (or alone, where there is none); None for none.

    It is the first of the use case's columns that is a known measurement or its average, unless that is what it predicts.
    """
    names = set(measured)
    plain = grains.shortest_of_places.name
    if use_case is None:
        first = next((name for name in measurements if name in names), None)
        return (plain, f"{first}_avg") if first else None
    grain = grains.of_rows(use_case.features)
    averaged = (column.removesuffix("_avg") for column in use_case.columns)
    column = next((f"{name}_avg" for name in averaged if name in measurements), None)
    if column is None or column == use_case.label.column:
        return None
    return (plain if grain is None or grain.by_device else grain.name), column


def pairs(use_cases: Mapping[str, UseCase], grains: Grains, readings: Sequence[Reading], now_ms: int) -> list[Pair]:
    """Every use case at every place that it serves, with the start of its chart."""
    return [
        Pair(use_case.name, place_id, now_ms - span_ms(use_case, grains))
        for place_id, measured in measured_at(readings).items()
        for use_case in serving(use_cases, place_id, measured)
    ]


def lines(
    use_cases: Mapping[str, UseCase], measurements: Mapping[str, Measurement], grains: Grains, readings: Sequence[Reading], now_ms: int
) -> list[Line]:
    """The readings to draw at every place."""
    found = []
    for place_id, measured in measured_at(readings).items():
        served: Sequence[UseCase | None] = serving(use_cases, place_id, measured) or [None]
        for use_case in served:
            line = reading_line(use_case, measurements, grains, measured)
            if line:
                found.append(Line(place_id, *line, now_ms - span_ms(use_case, grains)))
    return found


def measured_at(readings: Sequence[Reading]) -> dict[str, list[str]]:
    """What each place's newest frames measure, by place; both in the readings' order."""
    found: dict[str, dict[str, None]] = {}
    for reading in readings:
        found.setdefault(reading.place_id, {}).update(dict.fromkeys(reading.payload))
    return {place_id: list(names) for place_id, names in found.items()}


def _measurement(column: str, measured: set[str]) -> bool:
    return column in measured or any(column.startswith(f"{name}_") for name in measured)
