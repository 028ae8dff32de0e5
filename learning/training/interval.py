"""Split-conformal prediction intervals, and how often they held. Pure."""

from math import ceil, inf

import numpy as np

from learning.tasks.task import Floats

COVERAGE = 0.9


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
