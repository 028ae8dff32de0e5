"""The table that is printed: a line for each fault, and whether it passed."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.faults.late_end import Copied
from tests.faults.verdict import Row

SHOWN = 3
"""Ids that are named of those that are wrong."""


@dataclass(frozen=True)
class Line:
    """``passed`` is None where the fault was not run. The cells are frames, lost, twice, foreign, said, recovery."""

    fault: str
    passed: bool | None
    cells: tuple[str, ...] = ("", "", "", "", "", "")
    remark: str = ""


def of_row(row: Row) -> Line:
    """What came of a fault on the whole platform."""
    if row.broken:
        return Line(row.fault.name, False, remark=row.broken)
    wrong = [id for found in (row.lost, row.twice, row.foreign) for id in sorted(found)[:SHOWN]]
    counts = (row.frames, len(row.lost), len(row.twice), len(row.foreign))
    recovery = "" if row.recovery_s is None else f"{row.recovery_s:.1f}"
    cells = (*map(str, counts), str(row.said or ""), recovery)
    return Line(row.fault.name, row.clean, cells, "; ".join([*row.remarks, *wrong]))


def of_experiment(late: str, copied: Copied, *, remedy: bool) -> Line:
    """What a late EndTxn did to the copier. Without the remedy it must do harm, or nothing is proved by there being none with it."""
    harmed = bool(copied.lost or copied.twice)
    cells = (str(copied.copies.total()), str(len(copied.lost)), str(len(copied.twice)), "0", "", "")
    told = (
        "none was sent"
        if copied.answer is None
        else "Kafka obeyed it"
        if copied.answer == 0
        else f"Kafka refused it: error {copied.answer}"
    )
    return Line(f"late-{late}, {'remedy on' if remedy else 'REMEDY OFF'}", harmed is not remedy, cells, told)


def table(lines: Sequence[Line]) -> Table:
    """All of them. Said after: by ``mliot status``, by a metric, in a log."""
    found = Table(
        "fault",
        "",
        "frames",
        "lost",
        "twice",
        "foreign",
        "said after s: status / metric / log",
        "recovery s",
        "",
        title="faults",
        title_justify="left",
    )
    for line in lines:
        found.add_row(line.fault, verdict(line), *line.cells, line.remark)
    return found


def verdict(line: Line) -> str:
    return "[yellow]not run[/]" if line.passed is None else "[green]ok[/]" if line.passed else "[red]FAILED[/]"
