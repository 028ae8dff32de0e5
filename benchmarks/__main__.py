"""``make bench``: measures the rows named, or all, and writes ``docs/results.md``."""

import tempfile
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import rows as rows_package
from benchmarks.machine import described
from benchmarks.results import DOCS, Kept, keep, page
from benchmarks.row import measure

PICTURES = {
    "latency-budget.png": "Where the time of one frame goes, hop by hop",
    "devices.png": "Memory and CPU of each service by devices",
}


def names() -> list[str]:
    """The row modules, by name."""
    return sorted(module.name for module in iter_modules(rows_package.__path__))


def main(
    which: Annotated[list[str] | None, typer.Argument(help="Row modules to measure; all where none is named.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each side is measured.")] = 5,
) -> None:
    """Measure ours beside its peers and write docs/results.md."""
    console = Console()
    for name in which or names():
        if name not in names():
            raise typer.BadParameter(f"{name}: not a row; there are {', '.join(names())}")
        module = import_module(f"benchmarks.rows.{name}")
        with tempfile.TemporaryDirectory(prefix="mliot-bench-") as folder, module.rows(Path(folder)) as rows:
            measured = {row.name: measure(row, rounds, said=console.print) for row in rows}
        day = datetime.now(UTC).date().isoformat()
        kept = keep(DOCS / "results.json", {key: Kept(row, day, described()) for key, row in measured.items()})
        shown = {file: title for file, title in PICTURES.items() if (DOCS / "images" / file).exists()}
        (DOCS / "results.md").write_text(page(kept, shown), "utf-8")
    console.print("docs/results.md is written")


if __name__ == "__main__":
    typer.run(main)
