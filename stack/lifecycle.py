"""Up, down, reset: the stack's life, from the checks before the start to the last process gone."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass

import psutil

from mliot.clock import Deadline, SystemClock
from mliot.errors import MliotError, UserError
from mliot.settings import Settings
from mliot.space import space
from stack import homefolder, jars, postgres, supervise
from stack.environment import differences
from stack.health import Health
from stack.logfiles import last_lines
from stack.plan import Part, choose, plan, startable
from stack.ports import require_distinct, require_free
from stack.processes import end, of_stack
from stack.supervise import log_path
from stack.watch import describe, starter_file, supervisor_file

LOOK_EVERY_S = 0.1
SUPERVISOR_S = 15
DOWN_S = 60

Report = Callable[[Part, Health], None]


@dataclass(frozen=True)
class Started:
    """The parts that were asked for, and why some of them are not well (by name); the others run."""

    parts: tuple[Part, ...]
    not_well: Mapping[str, str]

    @property
    def well(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.name not in self.not_well)


def up(settings: Settings, names: Iterable[str], report: Report) -> Started:
    """Start the parts named (all, where none is) and what they need; returns when each is well or had its time, as told to ``report``.

    Parts that run already stay as they are. A part that does not become well holds up those that need it and no other. Where none is well,
    on a mistake, and on Ctrl-C, a stack that this call began is taken down again.
    A stack that this call began ends with this process, whatever ends it, until :func:`leave` is called.

    Raises :class:`UserError`: a measurement, use case, decoder or codec cannot be used, the disk is full, a port is given twice or taken,
    the running stack has other settings, an archive cannot be fetched, no part becomes well.
    """
    from streaming.adapters.codecs import Codecs
    from streaming.intake.decoders import load_decoders
    from warehouse.dbt import check_declarations  # 90 ms of DuckDB that no other command needs

    check_declarations(settings)
    load_decoders(settings.decoders)
    if settings.codecs:
        Codecs(settings.codecs)
    homefolder.close(settings.home.absolute())
    if why := space(settings.home).problem:
        raise UserError(why)
    parts = plan(settings)
    chosen = choose(parts, names)
    require_distinct((part.name, listener) for part in chosen if not part.external for listener in part.listeners)
    supervisor = supervise.running(settings)
    if supervisor is None:
        end(of_stack(str(settings.home.absolute())), within_s=SUPERVISOR_S)  # of a stack that was killed
    elif changed := differences(settings, supervisor.settings()):
        raise UserError(f"the stack runs with other settings: {', '.join(changed)}; to take these over: mliot down && mliot up")
    alive = {name for name, part in supervisor.parts().items() if part.alive} if supervisor else set()
    starting = [part for part in chosen if not part.external and part.name not in alive]
    require_free((part.name, listener) for part in starting for listener in part.listeners)
    jars.fetch(part.jars for part in starting if part.jars)
    postgres.make_password(settings)
    begun = supervisor is None
    if begun:
        hold(settings)
    try:
        for part in starting:
            part.prepare(settings)
        if supervisor is None:
            supervisor = _start_supervisor(settings, parts)
        not_well = _start_each(settings, supervisor, chosen, {part.name for part in starting}, report)
        if len(not_well) == len(chosen):
            raise UserError("; ".join(not_well.values()))
    except BaseException:
        if begun:
            down(settings)
        raise
    return Started(chosen, not_well)


def hold(settings: Settings) -> None:
    """From now on the stack ends with the calling process: its watch sees to it."""
    path = starter_file(settings.home.absolute())
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(describe(psutil.Process(os.getpid())), "utf-8")
    fresh.replace(path)


def leave(settings: Settings) -> None:
    """From now on the stack lives without the process that started it."""
    starter_file(settings.home.absolute()).unlink(missing_ok=True)


def down(settings: Settings) -> bool:
    """Stop everything, services before servers; returns when no process of the stack is left. False where none was there."""
    home = str(settings.home.absolute())
    supervisor = supervise.running(settings)
    found = supervisor is not None or bool(of_stack(home))
    if supervisor is not None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(supervisor.pid())
            supervisor.shutdown()
            with suppress(psutil.TimeoutExpired):  # what is left then is ended below
                process.wait(DOWN_S)
    end(of_stack(home), within_s=SUPERVISOR_S)
    leave(settings)
    supervisor_file(settings.home.absolute()).unlink(missing_ok=True)  # of one that was killed: what is down now was told to be
    return found


def reset(settings: Settings) -> None:
    """Delete all that the stack keeps. Raises :class:`UserError` while it runs, and where the folder is not a stack's."""
    home = settings.home.absolute()
    if supervise.running(settings) is not None or of_stack(str(home)):
        raise UserError(f"{home}: the stack runs; stop it first: mliot down")
    if not home.exists():
        return
    if not supervise.configuration_path(settings).exists():
        raise UserError(f"{home}: no stack was ever started there, so nothing is deleted; set MLIOT_HOME to the folder that is meant")
    shutil.rmtree(home)


def _start_supervisor(settings: Settings, parts: tuple[Part, ...]) -> supervise.Supervisor:
    supervise.start(settings, parts)
    deadline = Deadline.after(SystemClock(), SUPERVISOR_S)
    while (supervisor := supervise.running(settings)) is None:
        if deadline.passed():
            raise UserError(f"the supervisor did not start within {SUPERVISOR_S} s; see {supervise.log_path(settings, 'supervisor')}")
        time.sleep(LOOK_EVERY_S)
    return supervisor


def _start_each(
    settings: Settings, supervisor: supervise.Supervisor, parts: Sequence[Part], starting: Set[str], report: Report
) -> dict[str, str]:
    """Start each part as soon as what it needs is well. Answers why parts are not well, by name; Ctrl-C calls all off."""
    off = threading.Event()
    left, well, not_well = list(parts), set[str](), dict[str, str]()
    with ThreadPoolExecutor(len(parts)) as pool:
        waits: dict[Future[Health], Part] = {}
        try:
            while left or waits:
                for part in _hopeless(left, not_well):
                    left.remove(part)
                    needed = ", ".join(name for name in part.needs if name in not_well)
                    not_well[part.name] = f"{part.name} is not started, since it needs {needed}"
                    report(part, Health("stopped", f"needs {needed}"))
                unsettled = [part for part in parts if part.name not in well and part.name not in not_well]
                for part in (one for one in startable(unsettled, well) if one in left):
                    left.remove(part)
                    if part.name in starting:
                        supervisor.start(part)
                    waits[pool.submit(until_well, settings, part, off)] = part
                for wait in wait_for(waits, return_when=FIRST_COMPLETED).done:
                    part = waits.pop(wait)
                    try:
                        report(part, wait.result())
                        well.add(part.name)
                    except MliotError as error:
                        not_well[part.name] = str(error)
                        report(part, Health("away", str(error)))
        finally:
            off.set()
    return not_well


def _hopeless(left: Iterable[Part], not_well: Mapping[str, str]) -> list[Part]:
    """Those of ``left`` that need a part that did not become well. Pure."""
    return [part for part in left if any(name in not_well for name in part.needs)]


def until_well(settings: Settings, part: Part, off: threading.Event) -> Health:
    """What ``part`` says of itself as soon as it is well and has what it needs made, or when ``off`` is set.

    Raises :class:`UserError` when that takes too long.
    """
    deadline = Deadline.after(SystemClock(), part.start_s)
    while not (health := part.check(settings)).up:
        if deadline.passed():
            wrote = last_lines(log_path(settings, part.name), 1)
            why = f"{health.detail or health.state}" + (f"; it wrote last: {wrote[0][:200]}" if wrote else "")
            raise UserError(f"{part.name} is not well after {part.start_s} s: {why}; see mliot logs {part.name}")
        if off.wait(LOOK_EVERY_S):
            return health
    part.ready(settings)
    return health
