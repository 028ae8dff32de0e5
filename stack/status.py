"""How every part of the stack is, asked now: the supervisor's word, the part's own, and the memory that it takes."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from mliot.clock import SystemClock, span_text
from mliot.settings import Settings
from mliot.space import space
from stack import supervise
from stack.crashes import NEWEST_LINES, OVER_S, crashes
from stack.health import Health
from stack.logfiles import last_lines
from stack.plan import Part, plan
from stack.processes import of_stack
from stack.supervise import Running, log_path
from stack.watch import supervisor_file

WELL_AGAIN_MS = 600_000
"""After so long without another, an error of a part that is well is no news any more."""
MAX_LINE = 160
CRASHING = ("BACKOFF", "FATAL", "EXITED", "UNKNOWN")


@dataclass(frozen=True)
class PartStatus:
    """One part. ``state`` is its own word (ok, waiting, stalled, starting, away), or stopped, crashing where it has none; memory in MiB.

    ``crashes`` is how often it ended by itself in the last ten minutes, ``wrote`` the last line of its log where it did.
    """

    name: str
    about: str
    state: str
    detail: str
    pid: int | None
    up_s: int | None
    rate_per_s: float | None
    lag: int | None
    last_error: str
    last_error_ms: int | None
    memory_mb: int | None
    crashes: int = 0
    wrote: str = ""

    @property
    def counts(self) -> bool:
        """It was asked to run: a part that nobody started is no fault."""
        return self.state != "stopped"

    def remark(self, now_ms: int) -> str:
        """What is to be said of it in a few words: what is wrong, else what was lately, else what it is."""
        if self.detail or self.crashes:
            ended = f"ended {_times(self.crashes)} in {OVER_S // 60} min" if self.crashes else ""
            wrote = f"wrote last: {self.wrote}" if self.wrote and self.state != "ok" else ""
            return "; ".join(filter(None, (self.detail, ended, wrote)))
        age_ms = now_ms - (self.last_error_ms or 0)
        if self.last_error and (self.state != "ok" or age_ms < WELL_AGAIN_MS):
            return f"last error {span_text(age_ms)} ago: {self.last_error}"
        return self.about


def survey(settings: Settings) -> list[PartStatus]:
    """Every part's status, in the plan's order. Each is asked at the same time as the others; the slowest answer takes a few seconds."""
    parts = plan(settings)
    supervisor = supervise.running(settings)
    told: Mapping[str, Running] = supervisor.parts() if supervisor else {}
    since_s = SystemClock().now_ms() / 1000 - OVER_S
    ended = crashes(last_lines(log_path(settings, "supervisor"), NEWEST_LINES) if supervisor else [], since_s)
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(lambda part: _one(settings, part, told.get(part.name), ended[part.name]), parts))


def problems(settings: Settings) -> list[str]:
    """What is wrong with the stack as a whole, one line each: its disk is full, its supervisor is gone though nobody stopped it."""
    home = settings.home.absolute()
    gone = supervisor_file(home).exists() and supervise.running(settings) is None and not of_stack(str(home))
    untold = (
        "the stack ended without being told to: its supervisor is gone (mliot logs supervisor); mliot up starts it again" if gone else ""
    )
    return [problem for problem in (space(home).problem, untold) if problem]


def healthy(statuses: list[PartStatus], wrong: Sequence[str] = ()) -> bool:
    """True where something was started and all of it is well, and nothing is ``wrong`` with the whole."""
    asked = [status for status in statuses if status.counts]
    return bool(asked) and not wrong and all(status.state == "ok" for status in asked)


def as_json(statuses: list[PartStatus], wrong: Sequence[str] = ()) -> dict[str, Any]:
    return {"healthy": healthy(statuses, wrong), "problems": list(wrong), "parts": [asdict(status) for status in statuses]}


def merge(
    part: Part, told: Running | None, health: Health | None, memory_mb: int | None, *, crashed: int = 0, wrote: str = ""
) -> PartStatus:
    """The supervisor's word and the part's own as one. ``health`` is None where nothing runs that could be asked. Pure."""
    state: str
    alive = part.external or (told is not None and told.alive)
    if alive and health is not None:
        state, detail = health.state, health.detail
    elif told is not None and told.state in CRASHING:
        state, detail = "crashing", f"see mliot logs {part.name}"
    else:
        state, detail, health = "stopped", "", None
    ours = told if alive and not part.external else None
    return PartStatus(
        part.name,
        part.about,
        state,
        detail,
        ours.pid if ours else None,
        ours.since_s if ours else None,
        health.rate_per_s if health else None,
        health.lag if health else None,
        health.last_error if health else "",
        health.last_error_ms if health else None,
        memory_mb,
        crashed,
        wrote,
    )


def _one(settings: Settings, part: Part, told: Running | None, crashed: int) -> PartStatus:
    asked = part.external or (told is not None and told.alive)
    wrote = last_lines(log_path(settings, part.name), 1) if crashed else []
    return merge(
        part,
        told,
        part.check(settings) if asked else None,
        _memory_mb(told.pid) if told and told.pid else None,
        crashed=crashed,
        wrote=wrote[0][:MAX_LINE] if wrote else "",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _memory_mb(pid: int) -> int | None:
    """Resident memory of the process and its children, or None where it is gone by now."""
    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) // 2**20
    except psutil.NoSuchProcess:
        return None
