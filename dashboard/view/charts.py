"""The geometry of the small charts: from times and values to SVG paths in a fixed box. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360.0, 72.0
PAD = 5.0
GAP_WINDOWS = 2.5
"""A line is broken where so many windows are missing."""


@dataclass(frozen=True)
class Sample:
    """One value to draw: a prediction (with its label where known, its interval where it has one) or a reading."""

    at_ms: int
    value: float
    href: str
    text: str
    label: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """A point that can be followed to its trace. ``label_y`` is where the truth lies, where that is known."""

    x: float
    y: float
    label_y: float | None
    href: str
    text: str


@dataclass(frozen=True)
class Chart:
    """Paths in a box of :data:`WIDTH` x :data:`HEIGHT`; ``top`` and ``bottom`` say what its edges stand for, ``span`` how long it is."""

    title: str
    summary: str
    top: str
    bottom: str
    span: str
    line: str
    band: str
    marks: tuple[Mark, ...]
    has_labels: bool


@dataclass(frozen=True)
class Frame:
    """What a chart's edges stand for. ``steps``: a value holds until the next one, as classes do."""

    from_ms: int
    to_ms: int
    window_ms: int
    low: float
    high: float
    steps: bool = False

    def x(self, at_ms: int) -> float:
        return round((at_ms - self.from_ms) / (self.to_ms - self.from_ms) * WIDTH, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - PAD - (value - self.low) / (self.high - self.low) * (HEIGHT - 2 * PAD), 1)


def chart(title: str, span: str, frame: Frame, samples: Sequence[Sample], shown: Callable[[float], str]) -> Chart | None:
    """The chart of ``samples`` (oldest first); None where none lies within the frame. ``shown`` writes a value with its unit."""
    inside = [s for s in samples if frame.from_ms <= s.at_ms <= frame.to_ms]
    if not inside:
        return None
    marks = tuple(Mark(frame.x(s.at_ms), frame.y(s.value), None if s.label is None else frame.y(s.label), s.href, s.text) for s in inside)
    runs = list(_runs(inside, frame))
    summary = f"{title}, {span}: {len(inside)} values from {shown(min(s.value for s in inside))} to {shown(max(s.value for s in inside))}, "
    return Chart(
        title=title,
        summary=summary + f"newest {shown(inside[-1].value)}",
        top=shown(frame.high),
        bottom=shown(frame.low),
        span=span,
        line=" ".join(_line(run, frame) for run in runs),
        band=" ".join(_band(run, frame) for run in runs),
        marks=marks,
        has_labels=any(mark.label_y is not None for mark in marks),
    )


def extent(samples: Iterable[Sample], at_least: float = 0.0) -> tuple[float, float]:
    """The lowest and highest value, label or interval end of ``samples``, widened to ``at_least`` around its middle; 0 to 1 for none."""
    values = [v for s in samples for v in (s.value, s.label, s.low, s.high) if v is not None]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    missing = max(at_least, abs(high) * 0.01, 1e-9) - (high - low)
    return (low - missing / 2, high + missing / 2) if missing > 0 else (low, high)


def _runs(samples: Sequence[Sample], frame: Frame) -> Iterable[list[Sample]]:
    """``samples`` cut where windows are missing."""
    run: list[Sample] = []
    for sample in samples:
        if run and sample.at_ms - run[-1].at_ms > GAP_WINDOWS * frame.window_ms:
            yield run
            run = []
        run.append(sample)
    if run:
        yield run


def _line(run: Sequence[Sample], frame: Frame) -> str:
    parts = [f"M{frame.x(run[0].at_ms)} {frame.y(run[0].value)}"]
    for sample in run[1:]:
        x, y = frame.x(sample.at_ms), frame.y(sample.value)
        parts.append(f"H{x}V{y}" if frame.steps else f"L{x} {y}")
    return "".join(parts)


def _band(run: Sequence[Sample], frame: Frame) -> str:
    ends = [(frame.x(s.at_ms), frame.y(s.low), frame.y(s.high)) for s in run if s.low is not None and s.high is not None]
    if len(ends) < 2:
        return ""
    there = [f"{x} {high}" for x, _, high in ends]
    back = [f"{x} {low}" for x, low, _ in reversed(ends)]
    return f"M{'L'.join([*there, *back])}Z"
