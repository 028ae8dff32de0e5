"""Live scores from labelled answers: macro F1 for classes, mean absolute error for numbers. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dashboard.data.rows import Scored

Kind = Literal["class", "number"]
MIN_ROWS = 30
"""Over fewer labelled rows a score says more of chance than of the model, and none is shown."""


@dataclass(frozen=True)
class Score:
    """A model's score and the last-value baseline's over the same ``rows``; where no row has a baseline, ``baseline`` is None."""

    rows: int
    model: float
    baseline: float | None

    def beats_baseline(self, kind: Kind) -> bool | None:
        """True where the model is ahead, None where that cannot be said. F1 is better high, an error is better low."""
        if self.baseline is None or self.model == self.baseline:
            return None
        return (self.model > self.baseline) == (kind == "class")


def score(kind: Kind, rows: Sequence[Scored]) -> Score | None:
    """The score over ``rows``, of those with a baseline where there are any; None where there are none."""
    compared = [row for row in rows if row.baseline is not None]
    used = compared or list(rows)
    if not used:
        return None
    labels = [row.label for row in used]
    baseline = _measure(kind, labels, [row.baseline for row in compared if row.baseline is not None]) if compared else None
    return Score(len(used), _measure(kind, labels, [row.value for row in used]), baseline)


def family(model_version: str) -> str:
    """What the versions of one learner share: a learner that learns with every row has a new version each time, ``online-N``."""
    name, _, learnt = model_version.rpartition("-")
    return name if name == "online" and learnt.isdecimal() else model_version


def _measure(kind: Kind, labels: Sequence[float], answers: Sequence[float]) -> float:
    if kind == "number":
        return sum(abs(label - answer) for label, answer in zip(labels, answers, strict=True)) / len(labels)
    return macro_f1(labels, answers)


def macro_f1(labels: Sequence[float], answers: Sequence[float]) -> float:
    """The mean F1 over the classes that ``labels`` show; a class that is never answered right counts 0."""
    pairs = list(zip(labels, answers, strict=True))
    total = 0.0
    classes = set(labels)
    for one in classes:
        right = sum(label == answer == one for label, answer in pairs)
        either = sum(label == one for label, _ in pairs) + sum(answer == one for _, answer in pairs)
        total += 2 * right / either
    return total / len(classes)
