"""``mliot demo``: the whole platform on this machine, with a live table; or one whole chain, and then nothing left running."""

import time
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from lineage import show
from lineage.store import connected
from lineage.trace import Trace
from lineage.trace_rows import find, read_chain
from mliot.clock import Deadline, SystemClock, clock_time, span_text
from mliot.errors import Transient, UserError
from mliot.grains import Grains
from mliot.settings import Settings
from stack import lifecycle, supervise
from stack.cli import COLOURS, PANEL, addresses, interruptible, status_page, tell_not_well
from stack.health import Health
from stack.plan import Part, plan
from stack.progress import Decision, Progress, read_progress
from stack.status import problems, survey
from usecases import load_use_cases
from warehouse.dbt import feature_models

LOOK_EVERY_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(rich_help_panel=PANEL)(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop after one whole chain, frame to acked command, and print its trace.")] = False,
    within: Annotated[float, typer.Option(min=1, help="With --once: seconds to wait for the chain.")] = 900,
) -> None:
    """Start everything, and watch readings become decisions. Ctrl-C stops it; the data stays for the next time."""
    settings = Settings.read()
    console = Console(stderr=True)
    begun = supervise.running(settings) is None
    interruptible()

    def report(part: Part, health: Health) -> None:
        console.print(
            f"[{COLOURS.get(health.state, 'red')}]{health.state:>8}[/]  {part.name:<15} {health.detail or part.about}", highlight=False
        )

    try:
        started = lifecycle.up(settings, [part.name for part in plan(settings)], report)
        Console().print(addresses(settings, started.well))
        tell_not_well(console, started)
        if once:
            _until_whole_chain(settings, within, console)
        else:
            _watch(settings)
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        if begun:
            lifecycle.down(settings)


def _watch(settings: Settings) -> None:
    with Live(console=Console(), auto_refresh=False, transient=False) as live:
        while supervise.running(settings) is not None:
            live.update(_page(settings), refresh=True)
            time.sleep(LOOK_EVERY_S)


def _until_whole_chain(settings: Settings, within: float, console: Console) -> None:
    deadline = Deadline.after(SystemClock(), within)
    progress, said = None, ""
    with console.status("waiting for the first frame") as waiting:
        while progress is None or progress.whole_chain is None:
            if deadline.passed():
                raise UserError(f"no whole chain within {within:g} s: {said}")
            time.sleep(LOOK_EVERY_S)
            try:
                progress = read_progress(settings)
            except Transient as error:
                said = str(error)
            else:
                said = progress.missing()
            waiting.update(said)
    _print_trace(settings, progress.whole_chain)


def _print_trace(settings: Settings, decision: Decision) -> None:
    grains = Grains.of(feature_models(settings))
    with connected(settings) as store:
        subject = find(store, grains, decision.command_id)
        assert subject is not None, decision.command_id
        chain = read_chain(store, grains, subject, listed=3)
    tree = Trace(chain, load_use_cases(settings.usecases), grains, SystemClock().now_ms(), int(settings.grace_s * 1000)).tree()
    Console().print(show.tree(tree))


def _page(settings: Settings) -> Group:
    parts = status_page(survey(settings), problems(settings))
    try:
        return Group(parts, _decisions(read_progress(settings)))
    except Transient as error:
        return Group(parts, str(error))


def _decisions(progress: Progress) -> Table | str:
    if not progress.decisions:
        return progress.missing()
    table = Table("decided", "place", "command", "model", "state", "after", title="decisions", title_justify="left")
    for one in progress.decisions:
        command = f"{one.action} = {one.value:g} -> {one.device}"
        table.add_row(
            clock_time(one.decided_ms), one.place_id, command, one.model_version, one.state, span_text(one.at_ms - one.decided_ms)
        )
    return table
