"""What operators look after: services, commands and their acks, what was refused, and what needs a look now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dashboard.data.queries import REFUSED_ROWS
from dashboard.data.rows import NO_ANSWER, CommandRow, Health, Peer, Refusal, Snapshot, UnknownName
from dashboard.view.places import Known
from dashboard.view.wording import Stamp, number, title, trace_path, use_case_title, with_unit
from mliot.clock import clock_time, span_text
from mliot.frames import TOO_MANY_NEW
from mliot.unknown import MAX_NAMES, OTHERS, nearest

Tone = Literal["good", "busy", "warn", "bad", "idle"]
OPTIONAL_SERVICES = frozenset({"fleet"})
"""Simulated devices: real ones take their place, so that their absence is nothing to look after."""
MAX_REASONS = 8

_STATES: dict[str, tuple[str, Tone]] = {
    "ok": ("✓", "good"),
    "starting": ("…", "busy"),
    "waiting": ("!", "warn"),
    "stalled": ("!", "bad"),
    "stopping": ("…", "busy"),
    NO_ANSWER: ("✕", "bad"),
}
_COMMANDS: dict[str, tuple[str, Tone]] = {
    "queued": ("…", "busy"),
    "sent": ("→", "busy"),
    "acked": ("✓", "good"),
    "failed": ("✕", "bad"),
    "expired": ("!", "warn"),
    "withheld": ("–", "idle"),
}


@dataclass(frozen=True)
class ServiceView:
    name: str
    state: str
    glyph: str
    tone: Tone
    rate: str = ""
    lag: str = ""
    error: str = ""
    error_at: Stamp | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommandView:
    """``took`` is the time from the decision to the ack's arrival."""

    id: str
    state: str
    glyph: str
    tone: Tone
    order: str
    place: str
    took: str
    reason: str
    trace: str
    decided: Stamp


@dataclass(frozen=True)
class RefusalView:
    id: str
    letters: str
    service: str
    reason: str
    trace: str
    newest: Stamp


@dataclass(frozen=True)
class RefusalsView:
    summary: str
    reasons: tuple[RefusalView, ...]


def service_views(services: Sequence[Health]) -> tuple[ServiceView, ...]:
    """The services in the data's order."""
    return tuple(_service(health) for health in services)


def _service(health: Health) -> ServiceView:
    glyph, tone = _STATES.get(health.state, ("?", "warn"))
    if health.state == NO_ANSWER:
        if health.service in OPTIONAL_SERVICES:
            return ServiceView(health.service, "not running", "-", "idle")
        return ServiceView(health.service, NO_ANSWER, glyph, tone)
    return ServiceView(
        health.service,
        health.state,
        glyph,
        tone,
        f"{number(health.rate_per_s or 0)}/s",
        "lag unknown" if health.lag is None else f"{health.lag:,} behind" if health.lag else "up to date",
        health.last_error,
        Stamp(health.last_error_ms) if health.last_error and health.last_error_ms else None,
        health.remarks,
    )


def peer_view(name: str, peer: Peer | None) -> ServiceView:
    """A web server of the stack in the terms of the services."""
    if peer is None:
        return ServiceView(name, "asking", "…", "busy")
    glyph, tone = _STATES["ok" if peer.answers else NO_ANSWER]
    return ServiceView(name, "ok" if peer.answers else NO_ANSWER, glyph, tone)


def command_views(commands: Sequence[CommandRow], known: Known, now_ms: int) -> tuple[CommandView, ...]:
    """The commands, newest first."""
    return tuple(_command(row, known, now_ms) for row in commands)


def _command(row: CommandRow, known: Known, now_ms: int) -> CommandView:
    glyph, tone = _COMMANDS.get(row.state, ("?", "warn"))
    use_case = known.use_cases.get(row.use_case)
    unit = use_case.unit if use_case else ""
    reason = row.reason
    if row.state in ("queued", "sent") and row.expires_ms < now_ms and not reason:
        reason = "its time is over and no ack came"
    return CommandView(
        row.command_id,
        row.state,
        glyph,
        tone,
        f"{title(row.action)} {with_unit(row.value, unit)} → {row.device or 'no device'}",
        f"{row.place_id} · {use_case_title(known.use_cases, row.use_case)}",
        "" if row.acked_ms is None else f"answered in {span_text(row.acked_ms - row.decided_ms)}",
        reason,
        trace_path(row.command_id),
        Stamp(row.decided_ms),
    )


def refusals_view(refusals: Sequence[Refusal]) -> RefusalsView:
    """How many records were refused in the last day, and the most frequent reasons."""
    total = sum(refusal.letters for refusal in refusals)
    if not total:
        return RefusalsView("none in the last 24 hours", ())
    more = "at least " if total >= REFUSED_ROWS else ""
    others = len(refusals) - MAX_REASONS
    tail = f", {others} rarer reasons not listed" if others > 0 else ""
    return RefusalsView(f"{more}{total:,} in the last 24 hours{tail}", tuple(_refusal(r) for r in refusals[:MAX_REASONS]))


def _refusal(refusal: Refusal) -> RefusalView:
    return RefusalView(
        f"{refusal.service}\0{refusal.reason}",
        f"{refusal.letters:,}",
        refusal.service,
        refusal.reason,
        trace_path(refusal.newest_id),
        Stamp(refusal.newest_ms),
    )


@dataclass(frozen=True)
class UnknownView:
    """A line about a measurement of an unknown name."""

    name: str
    text: str
    newest: Stamp


def unknown_views(unknown: Sequence[UnknownName], known: Known) -> tuple[UnknownView, ...]:
    """The names that nobody knows, most frames first, each with the known name it is most like."""
    return tuple(_unknown(one, known) for one in unknown)


def _unknown(one: UnknownName, known: Known) -> UnknownView:
    like = nearest(one.name, known.measurements)
    name = one.name if one.name != OTHERS else f"names beyond a device's first {MAX_NAMES}"
    who = one.device if one.devices == 1 else f"{one.devices:,} devices, most of {one.device}"
    frames = f"{one.frames:,} {'frame' if one.frames == 1 else 'frames'}"
    return UnknownView(one.name, f"{name}: {frames} of {who}{f'; did you mean {like}?' if like else ''}", Stamp(one.newest_ms))


@dataclass(frozen=True)
class Problem:
    """One line that needs a look; ``since`` is when it was noticed, where that is known."""

    text: str
    since: Stamp | None = None


def problems(snapshot: Snapshot) -> tuple[Problem, ...]:
    """What is wrong now, the disk and the store first."""
    found = [Problem(snapshot.disk[0].upper() + snapshot.disk[1:])] if snapshot.disk else []
    if snapshot.away:
        shown = f"what is shown was read at {clock_time(snapshot.read_ms)} UTC" if snapshot.read_ms else "nothing was read yet"
        since = Stamp(snapshot.away_since_ms) if snapshot.away_since_ms else None
        found.append(Problem(f"The store is away ({snapshot.away}); {shown}", since))
    for health in snapshot.services or ():
        if health.state == "waiting":
            found.append(Problem(f"{health.service} is waiting: {health.waits_for or health.last_error}"))
        elif health.state == "stalled":
            found.append(Problem(f"{health.service} {health.stalled}"))
        if health.notice:
            found.append(Problem(f"{health.service}: {health.notice}", Stamp(health.notice_ms) if health.notice_ms else None))
    silent = [h.service for h in snapshot.services or () if h.state == NO_ANSWER and h.service not in OPTIONAL_SERVICES]
    if silent:
        found.append(Problem(f"No answer from {', '.join(silent)}"))
    for name, peer in (("the prediction endpoint", snapshot.endpoint), ("Dagster", snapshot.dagster)):
        if peer is not None and not peer.answers:
            found.append(Problem(f"No answer from {name}", Stamp(peer.since_ms)))
    flood = [refusal for refusal in (snapshot.store.refusals if snapshot.store else ()) if refusal.reason.startswith(TOO_MANY_NEW)]
    if flood:
        worst = max(flood, key=lambda refusal: refusal.letters)
        frames = sum(refusal.letters for refusal in flood)
        found.append(Problem(f"{frames:,} frames were refused, most of them since {worst.reason}", Stamp(worst.newest_ms)))
    return tuple(found)
