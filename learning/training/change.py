"""Numbers learnt as the change from a column that is known when they are asked for."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from learning.tasks.task import Floats, Matrix


class Change:
    """A pipeline that learns the label minus one column, and answers what it learnt plus that column.

    This is first differencing (Box and Jenkins 1970): where the newest reading is a good guess already, what is left to learn is small,
    and a level that was never seen before no longer matters to trees, which cannot extrapolate. Where the column is missing, it is taken
    to be its median over the rows that were learnt from, as the imputer does (0 where it was never read).
    """

    def __init__(self, pipeline: Pipeline, column: int) -> None:
        self.pipeline = pipeline
        self.column = column
        self.typical = np.float32(0)

    def fit(self, values: Matrix, labels: npt.NDArray[Any]) -> Self:
        level = values[:, self.column]
        read = level[np.isfinite(level)]
        self.typical = np.float32(np.median(read)) if len(read) else np.float32(0)
        self.pipeline.fit(values, labels - self._level(values))
        return self

    def predict(self, values: Matrix) -> Floats:
        return np.asarray(self.pipeline.predict(values), dtype=np.float64) + self._level(values)

    def _level(self, values: Matrix) -> Floats:
        level = values[:, self.column]
        return np.where(np.isnan(level), self.typical, level).astype(np.float64)
