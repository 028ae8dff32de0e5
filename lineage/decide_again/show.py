"""A replay as people read it, and as programs do."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from lineage.decide_again.compare import Compared, Value, Verdict, as_builtins
from lineage.decide_again.report import Decision, Report, differing
from lineage.show import safe
from mliot.usecase import UseCase

NAMED = 20
"""How many differences are named; --json names all."""
_SHOWN = {
    "window": ("frames", "first", "last"),
    "prediction": ("model_version", "value", "probability", "low", "high"),
    "command": ("command_id", "device", "action", "value", "decided_ms"),
}
_EQUAL: dict[Verdict, Text] = {
    "same": Text("bit", "green"),
    "close": Text("1e-6", "yellow"),
    "differs": Text("NO", "bold red"),
}
"""How far a value is equal: to the last bit, within 1e-6, not at all."""


def decision(one: Decision, use_case: UseCase | None) -> RenderableType:
    """One decision: what it was made from and what it came to, then and now. Other values are shown where they are not the same."""
    table = Table(*(Column(name, overflow="fold") for name in ("value", "then", "now", "equal")), box=box.SIMPLE_HEAD)
    shown = [value for value in one.tally.values if _matters(value, use_case)]
    part = ""
    for value in shown:
        if value.part != part:
            part = value.part
            table.add_row(Text(part, "cyan"))
        table.add_row(safe(f"  {value.name}"), _text(value.then), _text(value.now), _EQUAL[value.verdict])
    lines = [_rest(one, len(shown))]
    if one.came_late:
        count = len(one.came_late)
        verb = "frame came" if count == 1 else "frames came"
        addresses = ", ".join(one.came_late[:5]) + (f", … {count - 5} more" if count > 5 else "")
        lines.append(Text(f"{count} {verb} after the window had closed and were no part of it: {addresses}", "yellow"))
    return Group(safe(one.id, "bold"), table, *lines)


def _matters(value: Compared, use_case: UseCase | None) -> bool:
    if value.verdict != "same":
        return True
    if value.part in _SHOWN:
        return value.name in _SHOWN[value.part] and value.then is not None
    return use_case is not None and value.name in use_case.columns


def _rest(one: Decision, shown: int) -> Text:
    rest = one.tally.compared - shown
    return Text(f"and {rest} more values, all the same to the last bit" if rest else "", "dim")


def _text(value: Value) -> Text:
    return Text("-", "dim") if value is None else safe(str(value))


def summary(report: Report) -> Text:
    """The one line that says how it went."""
    bits, close, differ, unknown = (report.count(verdict) for verdict in ("same", "close", "differs", "unknown"))
    parts = [f"{_count(report.replayed, 'decision')}, {differ:,} differ", f"{bits:,} equal to the last bit"]
    parts += [f"{close:,} within 1e-6"] if close else []
    parts += [f"{report.with_late_frames:,} without frames that came too late for them"] if report.with_late_frames else []
    parts += [f"{unknown:,} could not be replayed"] if unknown else []
    style = "bold red" if differ else "green" if report.equal else "yellow"
    return Text("; ".join(parts), style)


def sample(report: Report, asked: int) -> RenderableType:
    """A whole sample: what differs, what could not be replayed and why, the summary."""
    lines: list[RenderableType] = []
    found = list(differing(report))
    if found:
        table = Table(*(Column(name, overflow="fold") for name in ("decision", "value", "then", "now")), box=box.SIMPLE_HEAD)
        for one, value in found[:NAMED]:
            table.add_row(safe(one.id), safe(f"{value.part}: {value.name}"), _text(value.then), _text(value.now))
        lines.append(table)
        if len(found) > NAMED:
            lines.append(Text(f"… {len(found) - NAMED:,} values more (--json names all)", "red"))
    lines += [Text(f"{count:,} could not be replayed: {why}", "yellow") for why, count in report.unknown.most_common()]
    if report.total < asked:
        lines.append(Text(f"there are {report.total:,} predictions, fewer than the {asked:,} asked for"))
    return Group(*lines, summary(report))


def as_json(report: Report) -> dict[str, Any]:
    """Everything, for programs. Values are those that are kept: of a sample, the ones that are not the same."""
    return {
        "decisions": len(report.decisions),
        "replayed": report.replayed,
        "differ": report.count("differs"),
        "equal_to_the_bit": report.count("same"),
        "equal_within_1e-6": report.count("close"),
        "without_late_frames": report.with_late_frames,
        "not_replayed": dict(report.unknown),
        "there_are": report.total,
        "values_of": list(_values(report)),
    }


def _values(report: Report) -> Iterator[dict[str, Any]]:
    for one in report.decisions:
        if one.unknown or one.tally.values or one.came_late:
            yield {
                "id": one.id,
                "verdict": one.verdict,
                "reason": one.unknown,
                "came_late": list(one.came_late),
                "values": [as_builtins(value) for value in one.tally.values],
            }


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
