"""How many frames a second the whole path takes on one machine, and which part is the ceiling.

The highest rate is held for ``HOLD_S`` seconds (environment; 20 where it is not set, which is a quick look: 300 is the claim), and looked
for from ``HOLD_FROM`` frames a second on.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.path import WholePath, whole_path
from benchmarks.row import Row, Side

HOLD_S, HOLD_FROM = 20, 1_000
STEP = 1.25
GROWN_MS = 100
"""A rate is not held where the newest stored prediction is older by more than this in the last quarter of the time than in the second."""


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    with whole_path(folder) as path:
        search = _Search(path, float(os.environ.get("HOLD_S", HOLD_S)), float(os.environ.get("HOLD_FROM", HOLD_FROM)))
        yield (
            Row(
                "Highest rate with a prediction for every frame",
                "frames/s",
                Side("the whole path", search.rate),
                (),
                {},
                note=search.told,
            ),
        )


class _Search:
    """The highest rate at which the newest stored prediction does not grow older."""

    def __init__(self, path: WholePath, hold_s: float, start: float) -> None:
        self._path, self._hold_s, self._start = path, hold_s, start
        self._cores: dict[str, float] = {}

    def rate(self) -> float:
        """Frames a second; steps of a quarter, so the truth lies up to a quarter above."""
        rate = self._start
        while not self._holds(rate):
            rate /= STEP
        while self._holds(rate * STEP):
            rate *= STEP
        self._start = rate
        return rate

    def told(self) -> str:
        """How it was looked for, and who was busy at the rate that was held last."""
        busy = sorted(self._cores.items(), key=lambda item: -item[1])
        return (
            f"Each rate is held for {self._hold_s:g} s, a quarter more than the one before; at the last one that was held the parts used, "
            f"of {os.cpu_count()} cores, " + ", ".join(f"{name} {cores:.2f}" for name, cores in busy) + "."
        )

    def _holds(self, rate: float) -> bool:
        ages: list[float] = []
        self._path.clear()
        began, before = time.perf_counter(), self._path.cpu_s()
        frames = self._path.publish(rate, self._hold_s, look=lambda: ages.append(self._path.newest_age_ms()))
        seconds, after = time.perf_counter() - began, self._path.cpu_s()
        self._path.wait_stored(frames)
        if not is_level(ages):
            return False
        self._cores = {name: (used - before[name]) / seconds for name, used in after.items()}
        return True


def is_level(ages_ms: Sequence[float]) -> bool:
    """True where what was seen last is not older than what was seen before, the first quarter left out."""
    quarter = len(ages_ms) // 4
    return median(ages_ms[-quarter:]) <= median(ages_ms[quarter : 2 * quarter]) + GROWN_MS
