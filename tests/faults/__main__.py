"""``make faults``: real faults on a real platform under load, and what each of them cost. It ends with 0 only if none cost anything."""

import os
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mliot.settings import Settings
from tests.faults.catalogue import CATALOGUE, ONE_ONLY, Fault, chosen
from tests.faults.late_end import LATE, LateEnd
from tests.faults.matrix import Line, of_experiment, of_row, table, verdict
from tests.faults.site import site
from tests.faults.verdict import Judge

EXPERIMENTS = {f"late-{late}": late for late in LATE}
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these; the word before the dash means all of its kind.")]


def main(
    names: Names = None,
    seconds_away: Annotated[float, typer.Option(min=1, help="How long a fault lasts that does.")] = 30,
    rate: Annotated[int, typer.Option(min=10, help="Frames a second.")] = 500,
    list_them: Annotated[bool, typer.Option("--list", help="Say what there is, and do nothing.")] = False,
) -> None:
    """Real faults on a real platform under load, and what each of them cost. Ends with 0 only if none cost anything."""
    console = Console(width=200)
    if list_them:
        console.print(listed())
        return
    try:
        faults = chosen(CATALOGUE, names or [], also=EXPERIMENTS)
    except KeyError as unknown:
        raise typer.BadParameter(f"{unknown}: there is no such fault; --list names those there are") from None
    lines: list[Line] = []
    with console.status("starting the platform") as status, site() as running:
        if not names or not set(names).isdisjoint({"late", *EXPERIMENTS}):
            lines += experiments(running.servers.settings, names or [])
        judge = Judge(running, seconds_away, rate)
        for fault in faults:
            status.update(f"{fault.name}: {fault.what}")
            lines.append(_run(judge, fault))
            console.print(f"{fault.name}: {verdict(lines[-1])} {' | '.join(lines[-1].cells)} {lines[-1].remark}", highlight=False)
        status.update("stopping the platform")
    if not names or "second" in names:
        lines.append(Line(f"second-{ONE_ONLY}", None, remark="by its contract it runs as one instance"))
    console.print(table(lines))
    if any(line.passed is False for line in lines):
        raise typer.Exit(1)


def experiments(settings: Settings, names: Sequence[str]) -> Iterator[Line]:
    """A late EndTxn of each kind on the Kafka of ``settings``, with the remedy off and on."""
    for name, late in EXPERIMENTS.items():
        if not names or name in names or "late" in names:
            for remedy in (False, True):
                yield of_experiment(late, LateEnd(settings, late, remedy=remedy).run(), remedy=remedy)


def listed() -> Table:
    """Every fault and what it does."""
    found = Table("fault", "what it does")
    for name, late in EXPERIMENTS.items():
        found.add_row(name, f"a late {late} reaches the next transaction of one producer, with the remedy off and on")
    for fault in CATALOGUE:
        found.add_row(fault.name, fault.what)
    return found


def _run(judge: Judge, fault: Fault) -> Line:
    if fault.needs_root and os.geteuid() != 0:
        return Line(fault.name, False, remark="needs root, to mount a disk that can be full: not counted as passed")
    return of_row(judge.judge(fault))


if __name__ == "__main__":
    typer.run(main)
