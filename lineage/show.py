"""Traces, audits and dead letters as people read them: rich renderables, with nothing in them that a terminal would obey."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from lineage.chain import StoredLetter
from lineage.deadletters import destination, escaped, hex_lines, text_lines
from lineage.ledger import Finding, Report
from lineage.trace import Node
from mliot.clock import clock_time, span_text

NAMED = 20
"""How many offending ids are named of each kind."""
SHORT_ID = 12
SHOWN_BYTES = 4096
ROW_WIDTH = 140
"""Columns that a dead letter needs to stand in one row of a table."""
INDENT = 4
_STYLES = {"awaited": "yellow", "ack": "green", "deadletter": "red"}


def safe(text: str, style: str = "") -> Text:
    """Text from outside: no markup, no control characters."""
    return Text(escaped(text.encode("utf-8", "backslashreplace")), style)


def tree(node: Node) -> Tree:
    """The chain as a tree; the step that was asked for is bold, a step that is awaited yellow."""
    top = Tree(_line(node))
    for frame in _listed(node):
        top.add(frame)
    for child in node.children:
        _grow(top, child)
    return top


def _grow(branch: Tree, node: Node) -> None:
    grown = branch.add(_line(node))
    for child in node.children:
        _grow(grown, child)


def _line(node: Node) -> Text:
    style = "bold" if node.subject else _STYLES.get(node.kind, "")
    line = Text()
    line.append(f"{node.kind} ", "cyan")
    line.append_text(safe(node.id, style))
    if node.after_ms is not None:
        line.append(f"  {'+' if node.after_ms >= 0 else ''}{span_text(node.after_ms)}", "magenta")
    if node.at_ms is not None:
        line.append(f"  {clock_time(node.at_ms)}", "dim")
    line.append("\n  ")
    line.append_text(safe(node.text, style if node.kind == "awaited" else ""))
    return line


def _listed(node: Node) -> Sequence[Text]:
    """The first frames of a window, by event time."""
    frames = node.fields.get("frames") if node.kind == "frames" else None
    if not isinstance(frames, list):
        return []
    lines = [safe(f"{clock_time(frame['event_ms'])}  {frame['frame_id']}  {frame['address']}", "dim") for frame in frames]
    count = node.fields["count"]
    assert isinstance(count, int), count
    if count > len(lines):
        lines.append(Text(f"… {count - len(lines)} more", "dim"))
    return lines


def audit(report: Report) -> RenderableType:
    """The table of findings, the ids that are wrong, notes, doubts and the verdict."""
    table = Table("what", *(Column(name, justify="right") for name in ("owed", "seen", "missing", "twice", "foreign")), "note")
    for finding in report.findings:
        table.add_row(
            Text(finding.what, "" if finding.clean else "bold red"),
            *(f"{count:,}" for count in (finding.owed, finding.seen)),
            *(_count(ids) for ids in (finding.missing, finding.twice, finding.foreign)),
            finding.note,
        )
    lines = [line for finding in report.findings for line in _offenders(finding)]
    lines += [Text(f"note: {note}") for note in report.notes]
    lines += [safe(f"in doubt: {doubt}", "red" if report.strict else "yellow") for doubt in _first(report.doubts)]
    verdict = Text("clean: nothing is missing, twice or foreign", "green") if report.clean else Text("not clean", "bold red")
    return Group(table, *lines, verdict)


def _count(ids: Sequence[str]) -> Text:
    return Text(f"{len(ids):,}", "bold red" if ids else "dim")


def _offenders(finding: Finding) -> list[Text]:
    named = (("missing", finding.missing), ("twice", finding.twice), ("foreign", finding.foreign))
    return [safe(f"{finding.what}, {how}: {id}", "red") for how, ids in named for id in _first(ids)]


def _first(lines: Sequence[str]) -> list[str]:
    shown = list(lines[:NAMED])
    return shown if len(lines) <= NAMED else [*shown, f"… {len(lines) - NAMED} more (--json names all)"]


def letters(found: Sequence[StoredLetter], width: int) -> RenderableType:
    """Short id, when, service, source, reason, whether it was replayed, first bytes: a row a letter where that fits, else a few lines."""
    if width < ROW_WIDTH:
        return Group(*(line for stored in found for line in _letter_lines(stored, width)))
    table = Table("id", "when (UTC)", "service", "source", "reason", "replayed", "original")
    for stored in found:
        letter = stored.letter
        table.add_row(
            safe(letter.dead_id[:SHORT_ID]), clock_time(letter.at_ms), safe(letter.service), safe(letter.source), safe(letter.reason),
            _replayed(stored), Text(escaped(letter.original, max(16, width // 5))),
        )  # fmt: skip
    return table


def _letter_lines(stored: StoredLetter, width: int) -> list[RenderableType]:
    letter = stored.letter
    head = Text.assemble((f"{letter.dead_id[:SHORT_ID]}", "bold"), f"  {clock_time(letter.at_ms)}  ")
    head.append_text(safe(f"{letter.service}  {letter.source}"))
    replayed = _replayed(stored)
    lines = [
        safe(letter.reason, "red"),
        Text(escaped(letter.original, width - INDENT), "dim", no_wrap=True),
        *([Text(f"replayed {replayed}")] if replayed else []),
    ]
    return [head, *(Padding(line, (0, 0, 0, INDENT), expand=False) for line in lines)]


def _replayed(stored: StoredLetter) -> str:
    return "" if stored.replayed_ms is None else f"{clock_time(stored.replayed_ms)}{', refused again' if stored.is_open else ''}"


def letter(stored: StoredLetter, *, width: int, whole: bool) -> RenderableType:
    """Everything about one letter; the original as escaped text, in hex where it is not UTF-8."""
    one = stored.letter
    table = Table(show_header=False, box=None)
    for name, value in (
        ("id", one.dead_id), ("when (UTC)", clock_time(one.at_ms)), ("service", one.service), ("source", one.source), ("key", one.key),
        ("reason", one.reason), ("address", stored.address), ("traceparent", one.traceparent),
        ("replayed", clock_time(stored.replayed_ms) if stored.replayed_ms else ""), ("bytes", f"{len(one.original):,}"),
    ):  # fmt: skip
        table.add_row(name, safe(value))
    shown = one.original if whole else one.original[:SHOWN_BYTES]
    lines = text_lines(shown, width) if _is_text(one.original) else hex_lines(shown)
    rest = len(one.original) - len(shown)
    return Group(
        table, "", *(Text(line) for line in lines), *([Text(f"… {rest:,} bytes more (--whole shows them)", "dim")] if rest else [])
    )


def _is_text(original: bytes) -> bool:
    try:
        original.decode()
    except UnicodeDecodeError:
        return False
    return True


def plan(found: Sequence[StoredLetter]) -> RenderableType:
    """What a replay is about to do. Raises :class:`mliot.errors.UserError` where a letter came from nowhere."""
    lines = []
    for stored in found:
        to = destination(stored.letter)
        lines.append(safe(f"{stored.letter.dead_id[:SHORT_ID]} -> {to.system} {to.topic} ({stored.letter.reason})"))
    return Group(*lines)
