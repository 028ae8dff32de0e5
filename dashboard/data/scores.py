"""Live scores from labelled answers, in the metric of their task. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.data.rows import Scored
from learning.tasks.task import Task

MIN_ROWS = 30
"""Over fewer labelled rows a score says more of chance than of the model, and none is shown."""


@dataclass(frozen=True)
class Score:
    """A model's score and the last-value baseline's over the same ``rows``; where no row has a baseline, ``baseline`` is None."""

    rows: int
    model: float
    baseline: float | None

    def beats_baseline(self, task: Task) -> bool | None:
        """True where the model is ahead, None where that cannot be said."""
        return None if self.baseline is None else task.metric.is_ahead(self.model, self.baseline)


def score(task: Task, rows: Sequence[Scored]) -> Score | None:
    """The score over ``rows``, of those with a baseline where there are any; None where there are none."""
    compared = [row for row in rows if row.baseline is not None]
    used = compared or list(rows)
    if not used:
        return None
    labels, answers, baselines = (np.array([getattr(row, name) for row in used], float) for name in ("label", "value", "baseline"))
    baseline = task.metric.of(task.loss(labels, baselines)) if compared else None
    return Score(len(used), task.metric.of(task.loss(labels, answers)), baseline)


def family(model_version: str) -> str:
    """What the versions of one learner share: a learner that learns with every row has a new version each time, ``online-N``."""
    name, _, learnt = model_version.rpartition("-")
    return name if name == "online" and learnt.isdecimal() else model_version
