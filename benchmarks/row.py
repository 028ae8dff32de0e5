"""A row of the results: ours beside its peers, measured in turn in one run, since only their ratio says anything on a shared machine."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Side:
    """One contestant. ``run`` measures it once and returns a figure in the row's unit."""

    name: str
    run: Callable[[], float]


@dataclass(frozen=True)
class Row:
    """``goals`` is, by the peer's name, the ratio ours to peer that must be reached: at least where more is better, else at most.

    ``note`` is what was measured, in a sentence or two, asked for afterwards where only the measurement can tell.
    """

    name: str
    unit: str
    ours: Side
    peers: tuple[Side, ...]
    goals: Mapping[str, float]
    better: Literal["more", "less"] = "more"
    note: str | Callable[[], str] = ""


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of several runs."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, figures: list[float]) -> "Spread":
        return cls(min(figures), median(figures), max(figures))


@dataclass(frozen=True)
class Against:
    """Ours against one peer: the peer's figures, and the ratio ours to peer of each round."""

    peer: str
    figures: Spread
    ratio: Spread
    goal: float | None


@dataclass(frozen=True)
class Measured:
    """A row with its figures; what ``docs/results.json`` keeps."""

    name: str
    unit: str
    better: str
    rounds: int
    ours: str
    figures: Spread
    against: tuple[Against, ...]
    note: str = ""


def measure(row: Row, rounds: int, *, said: Callable[[str], None]) -> Measured:
    """Measures ours and every peer ``rounds`` times, in turn and each round in the other order: what grows warm or slow is shared."""
    figures: dict[str, list[float]] = {side.name: [] for side in (row.ours, *row.peers)}
    for number in range(rounds):
        for side in _order(row, number):
            figure = side.run()
            figures[side.name].append(figure)
            said(f"{row.name}, round {number + 1} of {rounds}: {side.name} {figure:,.4g} {row.unit}")
    ours = figures[row.ours.name]
    against = tuple(
        Against(
            side.name,
            Spread.of(figures[side.name]),
            Spread.of([mine / theirs for mine, theirs in zip(ours, figures[side.name], strict=True)]),
            row.goals.get(side.name),
        )
        for side in row.peers
    )
    note = row.note() if callable(row.note) else row.note
    return Measured(row.name, row.unit, row.better, rounds, row.ours.name, Spread.of(ours), against, note)


def reached(row: Measured, against: Against) -> bool | None:
    """Whether the middle ratio meets the goal; None where there is none."""
    if against.goal is None:
        return None
    return against.ratio.middle >= against.goal if row.better == "more" else against.ratio.middle <= against.goal


def _order(row: Row, number: int) -> Iterator[Side]:
    sides = [row.ours, *row.peers]
    yield from sides if number % 2 == 0 else reversed(sides)
