"""Numbers, units, links and times as people read them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from mliot import units
from mliot.measurements import Measurement
from mliot.usecase import UseCase

THIN = "\u202f"
"""Narrow no-break space: between a number and its unit."""
FRAMES_MISSED = 3
MIN_OLD_MS = 15_000
UNKNOWN_OLD_MS = 60_000
WINDOWS_MISSED = 2
CLOSING_MS = 30_000


@dataclass(frozen=True)
class Stamp:
    """When a value is from, and the age from which on it counts as old (None: it does not age)."""

    at_ms: int
    old_after_ms: int | None = None


def number(value: float) -> str:
    """``value`` with about three digits that matter; whole numbers whole, thousands apart."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size < 0.001:
        return f"{value:.2e}"
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def with_unit(value: float, unit: str) -> str:
    """``24.7 °C``; a unit that is a word goes before: ``level 2``."""
    return units.with_unit(number(value), unit, THIN)


def unit_after(unit: str) -> str:
    """The unit where it stands after its number in a small type, ``''`` for a word, which says what the name says already."""
    return "" if units.is_word(unit) else unit


def title(name: str) -> str:
    """A measurement's or use case's name for people: ``fan speed``."""
    return name.replace("_", " ")


def unit_of(column: str, measurements: Mapping[str, Measurement]) -> str:
    """The unit of a window's column, ``''`` where it is not known."""
    known = measurements.get(column.removesuffix("_avg"))
    return known.unit if known else ""


def trace_path(id: str) -> str:
    """The page that shows the chain of ``id``."""
    return f"/trace/{quote(id, safe='')}"


def reading_old_after_ms(interval_ms: int | None) -> int:
    """A device's value is old once it missed a few of its usual intervals."""
    if interval_ms is None:
        return UNKNOWN_OLD_MS
    return max(MIN_OLD_MS, FRAMES_MISSED * interval_ms)


def answer_old_after_ms(window_ms: int) -> int:
    """A prediction is old once two windows passed without a new one, and the time that closing one takes."""
    return WINDOWS_MISSED * window_ms + CLOSING_MS


def use_case_title(use_cases: Mapping[str, UseCase], name: str) -> str:
    return use_cases[name].title if name in use_cases else title(name)
