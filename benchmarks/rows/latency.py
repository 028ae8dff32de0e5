"""From a frame's publish to its stored prediction, everything on one machine: how long it takes, where, and how many a second.

The highest rate is held for ``HOLD_S`` seconds (environment; 20 where it is not set, which is a quick look: 300 is the claim), and looked
for from ``HOLD_FROM`` frames a second on.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import budget
from benchmarks.path import WholePath, whole_path
from benchmarks.results import DOCS
from benchmarks.row import Row, Side

RATE, SECONDS, WARM_S = 1_000, 65, 5
"""A round holds a whole minute, and so one end of a window of each kind."""
LIMIT, LIMIT_MS = "limit", 300.0
HOLD_S = 20
STEP = 1.25
GROWN_MS = 100
"""A rate is not held where the newest stored prediction is older by more than this in the last quarter of the time than in the second."""


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    with whole_path(folder) as path:
        latency, search = _Latency(path), _Search(path, float(os.environ.get("HOLD_S", HOLD_S)), float(os.environ.get("HOLD_FROM", RATE)))
        yield (
            Row(
                f"Published to prediction stored, p99 at {RATE:,} frames/s",
                "ms",
                Side("the whole path", latency.p99_ms),
                (Side(LIMIT, lambda: LIMIT_MS),),
                {LIMIT: 1},
                better="less",
                note=f"A prediction for every frame, {SECONDS - WARM_S} s a round, from the moment when a frame was due to be published to "
                "the time of PostgreSQL's commit; publisher, broker, Kafka, the four services, endpoint and PostgreSQL share the machine.",
            ),
            Row(
                "Highest rate with a prediction for every frame",
                "frames/s",
                Side("the whole path", search.rate),
                (),
                {},
                note=search.told,
            ),
        )


class _Latency:
    """The frames of every round, by hop."""

    def __init__(self, path: WholePath) -> None:
        self._path = path
        self._rounds: list[budget.Times] = []

    def p99_ms(self) -> float:
        """Of one round. The picture shows all rounds so far."""
        self._path.clear()
        self._path.wait_stored(self._path.publish(RATE, SECONDS))
        times = budget.spent(self._path.settings, self._path.connection)[RATE * WARM_S :]
        self._rounds.append(times)
        budget.picture(np.concatenate(self._rounds), DOCS / "images" / "latency-budget.png", f"{RATE:,} frames/s on one machine")
        return float(np.quantile(times.sum(axis=1), 0.99))


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
