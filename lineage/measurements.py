"""``mliot measurements``: what devices send under a name that nobody knows."""

import sys
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from lineage.show import safe
from lineage.store import connected
from mliot.clock import clock_time
from mliot.measurements import load_measurements
from mliot.settings import Settings
from mliot.unknown import MAX_NAMES, OTHERS, nearest, read_unknown

measurements = typer.Typer(no_args_is_help=True, help="What devices measure: names that nobody knows.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to ``app``."""
    app.add_typer(measurements, name="measurements")


@measurements.callback()
def _group() -> None:
    """Keeps the command's own name where it is the only one."""


@measurements.command("unknown")
def unknown(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, those that came last first.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
) -> None:
    """Measurements of unknown names, by device: kept in their frames, but in no feature. Beside each the known name it is like."""
    settings = Settings.read_of_stack()
    known = load_measurements(settings.measurements)
    with connected(settings) as store:
        found = read_unknown(store, known, limit)
    if json:
        rows = [{**msgspec.to_builtins(one), "nearest": nearest(one.name, known)} for one in found]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return
    if not found:
        Console().print("every measurement that was sent is known")
        return
    table = Table("device", "name", "frames", "last (UTC)", "did you mean")
    for one in found:
        name = safe(one.name) if one.name != OTHERS else f"(others, beyond {MAX_NAMES})"
        table.add_row(safe(one.device), name, f"{one.frames:,}", clock_time(one.last_ms), nearest(one.name, known) or "")
    console = Console()
    console.print(table)
    console.print("Mend the device's spelling, or make the name known: one entry in a file that MLIOT_MEASUREMENTS names (README).")
