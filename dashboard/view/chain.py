"""The chain around one id as steps to be shown, each with its time since the one before. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.view.wording import number, trace_path
from lineage.deadletters import escaped, hex_lines
from lineage.trace import Node
from mliot.clock import clock_time, span_text

SHOWN_BYTES = 4096
_LINKED = frozenset({"frame", "feature", "prediction", "command"})
_KINDS = {"frames": "frames of the window", "deadletter": "dead letter", "awaited": "awaited", "state": "state of the command"}
_TEXT_BYTES = frozenset(b"\t\n\r")


@dataclass(frozen=True)
class FrameLine:
    """One of the frames that a window was made of."""

    at: str
    id: str
    trace: str


@dataclass(frozen=True)
class StepView:
    """One step. ``hop`` is the time since the step above it, ``facts`` what else is known, ``trace`` where its own chain is shown."""

    kind: str
    id: str
    text: str
    hop: str
    at: str
    subject: bool
    awaited: bool
    trace: str
    facts: tuple[tuple[str, str], ...]
    frames: tuple[FrameLine, ...]
    more_frames: int
    children: tuple["StepView", ...]


def step_view(node: Node) -> StepView:
    """The tree of ``node``."""
    frames = _frames(node.fields)
    count = node.fields.get("count")
    return StepView(
        kind=_KINDS.get(node.kind, node.kind),
        id=node.id,
        text=node.text,
        hop="" if node.after_ms is None else f"{'+' if node.after_ms >= 0 else ''}{span_text(node.after_ms)}",
        at="" if node.at_ms is None else f"{clock_time(node.at_ms)} UTC",
        subject=node.subject,
        awaited=node.kind == "awaited",
        trace=trace_path(node.id) if node.kind in _LINKED and not node.subject else "",
        facts=tuple(
            (name.replace("_", " "), _fact(name, value)) for name, value in node.fields.items() if name != "frames" and value != ""
        ),
        frames=frames,
        more_frames=max(0, count - len(frames)) if isinstance(count, int) else 0,
        children=tuple(step_view(child) for child in node.children),
    )


def _frames(fields: Mapping[str, object]) -> tuple[FrameLine, ...]:
    listed = fields.get("frames")
    if not isinstance(listed, Sequence):
        return ()
    return tuple(FrameLine(f"{clock_time(one['event_ms'])} UTC", one["frame_id"], trace_path(one["frame_id"])) for one in listed)


def _fact(name: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact('', one)}" for key, one in sorted(value.items()))
    if name.endswith("_ms") and isinstance(value, int):
        return f"{clock_time(value)} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def original_view(original: bytes) -> tuple[str, str]:
    """A dead letter's bytes as text that shows and does nothing, in hex where it is not text; and what is left out, in words."""
    part = original[:SHOWN_BYTES]
    rest = len(original) - len(part)
    shown = "\n".join(escaped(line) for line in part.splitlines()) if _is_text(original) else "\n".join(hex_lines(part))
    left_out = f"; the first {len(part):,} are shown, `mliot deadletter show --whole` shows all" if rest else ""
    return shown, f"{len(original):,} bytes{left_out}"


def _is_text(original: bytes) -> bool:
    try:
        original.decode()
    except UnicodeDecodeError:
        return False
    return all(byte >= 0x20 or byte in _TEXT_BYTES for byte in original)
