"""What a replay is doing, on a terminal's standard error; elsewhere nothing is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Steps:
    """The steps of a replay as lines of a live display."""

    def __init__(self, display: Progress) -> None:
        self._display = display

    def begin(self, what: str, total: int | None = None) -> Callable[[int], None]:
        task = self._display.add_task(what, total=total)
        return lambda more: self._display.advance(task, more)


@contextmanager
def showing() -> Iterator[Steps]:
    """Shows the steps while the block runs, and nothing of them afterwards."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as display:
        yield Steps(display)
