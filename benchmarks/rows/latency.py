"""From a frame's publish to its stored prediction, everything on one machine: how long it takes, and where."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import budget
from benchmarks.path import WholePath, whole_path
from benchmarks.results import DOCS
from benchmarks.row import Row, Side

RATE, SECONDS, WARM_S = 1_000, 65, 5
"""A round holds a whole minute, and so one end of a window of each kind."""
LIMIT, LIMIT_MS = "limit", 300.0


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    with whole_path(folder) as path:
        yield (
            Row(
                f"Published to prediction stored, p99 at {RATE:,} frames/s",
                "ms",
                Side("the whole path", _Latency(path).p99_ms),
                (Side(LIMIT, lambda: LIMIT_MS),),
                {LIMIT: 1},
                better="less",
                note=f"A prediction for every frame, {SECONDS - WARM_S} s a round, from the moment when a frame was due to be published to "
                "the time of PostgreSQL's commit; publisher, broker, Kafka, the four services, endpoint and PostgreSQL share the machine.",
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
