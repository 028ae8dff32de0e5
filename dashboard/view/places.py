"""One card a place: its devices' newest readings, the newest predictions, and how both went. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from dashboard.data.plan import WINDOWS_SHOWN, measured_at, reading_line, serving, span_ms, window_ms
from dashboard.data.rows import Answer, Reading, StoreRows
from dashboard.view.charts import Chart, Frame, Sample, chart, extent
from dashboard.view.wording import (
    Stamp,
    answer_old_after_ms,
    number,
    reading_old_after_ms,
    title,
    trace_path,
    unit_after,
    unit_of,
    with_unit,
)
from mliot.grains import Grains
from mliot.measurements import Measurement
from mliot.usecase import UseCase

MAX_VALUES = 800
"""On the whole page: each takes its page's making, and every viewer's browser, about a millisecond."""
MIN_VALUES = 3
"""Of a device, however many there are."""


@dataclass(frozen=True)
class ValueView:
    name: str
    text: str
    unit: str


@dataclass(frozen=True)
class DeviceView:
    """The newest frame of a device; its values share one age."""

    device: str
    stamp: Stamp
    trace: str
    values: tuple[ValueView, ...]
    more: str = ""
    """How many values there was no room for."""


@dataclass(frozen=True)
class AnswerView:
    """The newest prediction of a use case; ``text`` is empty and ``waits_for`` says what is missing where there is none."""

    title: str
    text: str = ""
    sure: str = ""
    trace: str = ""
    stamp: Stamp | None = None
    waits_for: str = ""


@dataclass(frozen=True)
class PlaceView:
    place_id: str
    devices: tuple[DeviceView, ...]
    answers: tuple[AnswerView, ...]
    charts: tuple[Chart, ...]
    more: str = ""
    """How many devices there was no room for."""


@dataclass(frozen=True)
class Known:
    """What was declared: it does not change while the dashboard runs."""

    use_cases: Mapping[str, UseCase]
    measurements: Mapping[str, Measurement]
    grains: Grains


@dataclass(frozen=True)
class _Place:
    """What the parts of one card are made from."""

    place_id: str
    measured: Sequence[str]
    rows: StoreRows
    known: Known
    now_ms: int


def place_views(rows: StoreRows, known: Known, now_ms: int) -> tuple[PlaceView, ...]:
    """The places by name."""
    measured = measured_at(rows.readings)
    return tuple(_view(_Place(place_id, measured[place_id], rows, known, now_ms)) for place_id in sorted(measured))


def _view(place: _Place) -> PlaceView:
    served = serving(place.known.use_cases, place.place_id, place.measured)
    charts: list[Chart | None] = [] if served else [_reading_chart(place, None)]
    for use_case in served:
        charts += [_reading_chart(place, use_case), _answer_chart(place, use_case)]
    devices = [reading for reading in place.rows.readings if reading.place_id == place.place_id]
    return PlaceView(
        place.place_id,
        tuple(_device(reading, place) for reading in devices),
        tuple(_answer(place, use_case) for use_case in served),
        tuple(one for one in charts if one is not None),
        _more(max((reading.devices for reading in devices), default=0) - len(devices), "device"),
    )


def _more(count: int, what: str) -> str:
    return f"and {count:,} more {what}{'' if count == 1 else 's'}" if count > 0 else ""


def _device(reading: Reading, place: _Place) -> DeviceView:
    """Known measurements in their file's order, then the others by name."""
    order = {name: at for at, name in enumerate(place.known.measurements)}
    room = max(MIN_VALUES, MAX_VALUES // len(place.rows.readings))
    names = sorted(reading.payload, key=lambda name: (order.get(name, len(order)), name))[:room]
    return DeviceView(
        reading.device,
        Stamp(reading.event_ms, reading_old_after_ms(place.rows.intervals.get(reading.device))),
        trace_path(reading.frame_id),
        tuple(_value(name, reading.payload[name], place.known) for name in names),
        _more(max(reading.measured, len(reading.payload)) - len(names), "value"),
    )


def _value(name: str, value: float, known: Known) -> ValueView:
    unit = known.measurements[name].unit if name in known.measurements else ""
    return ValueView(title(name), number(value), unit_after(unit))


def _answer(place: _Place, use_case: UseCase) -> AnswerView:
    answer = next((a for a in place.rows.newest if (a.place_id, a.use_case) == (place.place_id, use_case.name)), None)
    if answer is None:
        grain = place.known.grains.of_rows(use_case.features)
        what = f"{grain.span} that closes" if grain else "frame that comes"
        return AnswerView(use_case.title, waits_for=f"no prediction yet: one comes with the first {what} under a champion")
    return AnswerView(
        use_case.title,
        with_unit(answer.value, use_case.unit),
        _sure(answer, use_case),
        trace_path(answer.id),
        Stamp(answer.at_ms, answer_old_after_ms(window_ms(use_case, place.known.grains))),
    )


def _sure(answer: Answer, use_case: UseCase) -> str:
    if answer.probability is not None:
        return f"{answer.probability:.0%} sure"
    if answer.low is not None and answer.high is not None:
        return f"between {number(answer.low)} and {with_unit(answer.high, use_case.unit)}"
    return ""


def _answer_chart(place: _Place, use_case: UseCase) -> Chart | None:
    """Predictions at the time that they are for, with their labels."""
    shown = partial(with_unit, unit=use_case.unit)
    samples = [
        Sample(a.for_ms, a.value, trace_path(a.id), _told(a, shown), a.label, a.low, a.high)
        for a in place.rows.history
        if (a.place_id, a.use_case) == (place.place_id, use_case.name)
    ]
    ends = (min(use_case.classes), max(use_case.classes)) if use_case.classes else extent(samples)
    span = span_ms(use_case, place.known.grains)
    frame = _frame(span, ends, place.now_ms, ahead_ms=use_case.label.horizon_ms, steps=bool(use_case.classes))
    return chart(use_case.title, _span_word(span), frame, samples, shown)


def _told(answer: Answer, shown: Callable[[float], str]) -> str:
    return f"predicted {shown(answer.value)}" + (", label not known yet" if answer.label is None else f", label {shown(answer.label)}")


def _reading_chart(place: _Place, use_case: UseCase | None) -> Chart | None:
    line = reading_line(use_case, place.known.measurements, place.known.grains, place.measured)
    if line is None:
        return None
    grain, column = line
    shown = partial(with_unit, unit=unit_of(column, place.known.measurements))
    samples = [
        Sample(point.end_ms, point.value, trace_path(point.id), shown(point.value))
        for point in place.rows.points
        if (point.place_id, point.column) == (place.place_id, column) and point.id.startswith(f"{grain}:")
    ]
    span = span_ms(use_case, place.known.grains)
    frame = _frame(span, extent(samples), place.now_ms)
    return chart(title(column.removesuffix("_avg")), _span_word(span), frame, samples, shown)


def _frame(span_ms: int, ends: tuple[float, float], now_ms: int, *, ahead_ms: int = 0, steps: bool = False) -> Frame:
    """Its right edge moves by whole windows: a chart changes no more often than its values do."""
    size = span_ms // WINDOWS_SHOWN
    end_ms = (now_ms // size + 1) * size
    return Frame(end_ms - span_ms, end_ms + ahead_ms, size, *ends, steps)


def _span_word(span_ms: int) -> str:
    hours, minutes = divmod(span_ms // 60_000, 60)
    if not hours:
        return f"last {minutes} min"
    return "last hour" if hours == 1 else f"last {hours} h"
