"""Scores, losses and intervals: numbers from labels and answers. Pure."""

from collections.abc import Sequence
from math import ceil, inf

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from learning.scoring import Floats
from learning.training.estimators import Kind

COVERAGE = 0.9


def loss(kind: Kind, labels: Floats, answers: Floats) -> float:
    """1 - macro F1 over the classes that ``labels`` show, or the mean absolute error in the label's unit. Less is better, 0 is perfect."""
    if kind == "number":
        return float(np.mean(np.abs(labels - answers)))
    return 1 - float(f1_score(labels, answers, labels=np.unique(labels), average="macro", zero_division=0))


def confusion(labels: Floats, answers: Floats, classes: Sequence[int]) -> list[list[int]]:
    """How often each class (row) was answered as each class (column), in the order of ``classes``."""
    counts: list[list[int]] = confusion_matrix(labels, answers, labels=list(classes)).tolist()
    return counts


def half_width(labels: Floats, answers: Floats, coverage: float = COVERAGE) -> float:
    """Half the width of the split-conformal interval, in the label's unit; infinite where there are too few rows for that coverage.

    The model must not have seen these rows. Where they and the rows to come are exchangeable, answer plus or minus half the width holds
    the truth with probability ``coverage`` or more, whatever the model and the noise (Vovk, Gammerman and Shafer 2005; Lei, G'Sell,
    Rinaldo, Tibshirani and Wasserman 2018, "Distribution-free predictive inference for regression"). Sensor series burst and drift, so
    that holds in the long run only: the coverage is measured on later rows (:func:`covered`) and told beside the one asked for.
    """
    residuals = np.sort(np.abs(labels - answers))
    rank = ceil((len(residuals) + 1) * coverage)
    return float(residuals[rank - 1]) if rank <= len(residuals) else inf


def covered(labels: Floats, answers: Floats, half: float) -> float:
    """The share of ``labels`` that lie within ``half`` of their answer."""
    return float(np.mean(np.abs(labels - answers) <= half))
