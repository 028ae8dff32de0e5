"""From feature rows to a model's matrix, and from its scores to the answers that are served: one rule for endpoint and replay."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from learning.card import ModelCard
from learning.tasks.task import Matrix, Scores

MAX_ROWS = 10_000
"""Most rows of one request to the endpoint."""
MAX_BYTES = 32 * 1024 * 1024
"""Longest body of one request to the endpoint."""
PROBABILITY_DIGITS = 6
"""Decimals of a served probability."""


class Answer(NamedTuple):
    """What is served for one row: a class with its probability, or a number with its interval where the card has one."""

    value: float
    probability: float | None = None
    low: float | None = None
    high: float | None = None


def matrix(rows: Sequence[Mapping[str, float]], columns: Sequence[str]) -> Matrix:
    """``rows`` as a model takes them: its columns in its order, NaN where a row has none, in single precision."""
    return np.array([[row.get(column, np.nan) for column in columns] for row in rows], dtype=np.float64).astype(np.float32)


def answers(scores: Scores, card: ModelCard) -> list[Answer]:
    """One answer a row, in order; a value that is not finite stays so."""
    values = scores.values.tolist()
    if scores.probabilities is not None:
        shares = scores.probabilities.round(PROBABILITY_DIGITS).tolist()
        return [Answer(value, share) for value, share in zip(values, shares, strict=True)]
    if card.interval is None:
        return [Answer(value) for value in values]
    half = card.interval.half_width
    return [Answer(value, low=value - half, high=value + half) for value in values]
