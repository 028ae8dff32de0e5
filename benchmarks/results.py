"""``docs/results.json`` keeps the newest figures of each row; ``docs/results.md`` is written from it, whole, each time."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from benchmarks.row import Measured, Spread, reached

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# Results

Written by `make bench`. Each row measures ours and its peer or limit in turn, in the same run on the same machine; the ratio is what
counts, the figures themselves belong to that machine. Figures are the median, with the least and the most of all rounds in brackets.
"""
ANSWERS = {True: "yes", False: "**no**", None: "-"}


class Kept(msgspec.Struct):
    """One row's figures with the day and the machine."""

    measured: Measured
    day: str
    machine: dict[str, str]


def read(path: Path) -> dict[str, Kept]:
    """By the row's name; empty where nothing was measured yet."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Kept]) if path.exists() else {}


def keep(path: Path, new: Mapping[str, Kept]) -> dict[str, Kept]:
    """Writes the rows that were there with the ``new`` ones in place of their elders."""
    rows = read(path) | dict(new)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return rows


def page(rows: Mapping[str, Kept], pictures: Mapping[str, str]) -> str:
    """``docs/results.md``. ``pictures`` are titles by file name."""
    return "\n".join([HEAD, *_table(rows), *_notes(rows), *_pictures(pictures), *_machines(rows)]) + "\n"


def _table(rows: Mapping[str, Kept]) -> Iterator[str]:
    yield "| what | ours | beside | figure | ratio | wanted | reached | rounds |"
    yield "|---|---|---|---|---|---|---|---|"
    for kept in rows.values():
        row = kept.measured
        for at in row.against:
            sign = "≥" if row.better == "more" else "≤"
            wanted = f"{sign} {at.goal:g}" if at.goal is not None else "-"
            yield (
                f"| {row.name} | {_figures(row.figures)} {row.unit} | {at.peer} | {_figures(at.figures)} {row.unit} "
                f"| {_figures(at.ratio)} | {wanted} | {ANSWERS[reached(row, at)]} | {row.rounds} |"
            )
        if not row.against:
            yield f"| {row.name} | {_figures(row.figures)} {row.unit} | - | - | - | - | - | {row.rounds} |"
    yield ""


def _notes(rows: Mapping[str, Kept]) -> Iterator[str]:
    noted = [kept.measured for kept in rows.values() if kept.measured.note]
    if noted:
        yield "## What the rows measure"
        yield ""
        yield from (f"- **{row.name}** ({row.ours}): {row.note}" for row in noted)
        yield ""


def _pictures(pictures: Mapping[str, str]) -> Iterator[str]:
    for name, title in pictures.items():
        yield f"![{title}](images/{name})"
        yield ""


def _machines(rows: Mapping[str, Kept]) -> Iterator[str]:
    yield "## Measured on"
    yield ""
    seen: dict[str, list[str]] = {}
    for name, kept in rows.items():
        line = ", ".join(f"{key} {value}" for key, value in kept.machine.items())
        seen.setdefault(f"{kept.day}: {line}", []).append(name)
    yield from (f"- {line} ({', '.join(names)})" for line, names in seen.items())


def _figures(spread: Spread) -> str:
    return f"{_short(spread.middle)} ({_short(spread.least)}-{_short(spread.most)})"


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
