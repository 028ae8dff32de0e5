"""Huber's robust regression, in a form that does not depend on the label's unit."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import HuberRegressor


class StandardHuber(HuberRegressor):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's HuberRegressor, fitted to the label centred on its median and scaled by its mean absolute deviation.

    Left in its unit, a label far from 0 or 1 (a pressure in Pa) stops the solver early, far from the best fit and without a warning, and
    the same penalty means something else in hPa than in Pa. ``coef_``, ``intercept_`` and ``scale_`` are in the label's unit again.
    """

    def fit(self, X: Any, y: npt.NDArray[np.float64]) -> Self:  # noqa: N803 (scikit-learn's name)
        centre = float(np.median(y))
        unit = float(np.mean(np.abs(y - centre))) or 1.0
        super().fit(X, (y - centre) / unit)
        self.coef_ *= unit
        self.scale_ *= unit
        self.intercept_ *= unit
        self.intercept_ += centre
        return self
