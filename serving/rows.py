"""From a request's rows to the model's matrix, and from its scores to the answers. Pure."""

from collections.abc import Sequence
from math import isfinite

import numpy as np

from learning.answers import answers
from learning.card import ModelCard
from learning.tasks.task import Matrix, Scores
from serving.problems import Refused
from serving.schema import Prediction, Row

_LARGEST = float(np.finfo(np.float32).max)


def matrix(rows: Sequence[Row], card: ModelCard) -> Matrix:
    """The rows as the model takes them: its columns in its order, NaN for null.

    Raises :class:`Refused` (422) that names the first column that is missing, unknown or beyond single precision.
    """
    wanted = frozenset(card.columns)
    for index, row in enumerate(rows):
        if row.keys() != wanted:
            raise _misfit(index, row, card)
    values = np.array([[row[column] for column in card.columns] for row in rows], dtype=np.float64)
    beyond = np.argwhere(np.abs(values) > _LARGEST)
    if len(beyond):
        index, column = (int(part) for part in beyond[0])
        field = f"rows[{index}].{card.columns[column]}"
        raise Refused(422, f"{field}: must be between -{_LARGEST:.3g} and {_LARGEST:.3g}", field)
    return values.astype(np.float32)


def predictions(scores: Scores, card: ModelCard) -> list[Prediction]:
    """One answer a row; its value is None where the model's answer to that row is not finite."""
    return [
        Prediction.model_construct(
            value=None if not isfinite(answer.value) else answer.value if answer.probability is None else int(answer.value),
            probability=answer.probability,
            low=answer.low,
            high=answer.high,
        )
        for answer in answers(scores, card)
    ]


def _misfit(index: int, row: Row, card: ModelCard) -> Refused:
    unknown = next((column for column in row if column not in card.columns), None)
    if unknown is not None:
        field = f"rows[{index}].{unknown[:80]}"
        return Refused(422, f"{field}: is not a column of {card.use_case}, which has {', '.join(card.columns)}", field)
    missing = next(column for column in card.columns if column not in row)
    field = f"rows[{index}].{missing}"
    return Refused(422, f"{field}: is missing; null says that there is no reading", field)
