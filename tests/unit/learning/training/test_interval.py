"""The conformal interval."""

from math import inf

import numpy as np
import pytest

from learning.training.interval import covered, half_width


def test_half_width_is_the_quantile_with_the_correction_for_few_rows() -> None:
    labels = np.arange(1.0, 20)  # residuals 1 ... 19: rank ceil(20 * 0.9) = 18
    assert half_width(labels, np.zeros(19), 0.9) == 18
    assert half_width(np.arange(1.0, 9), np.zeros(8), 0.9) == inf


def test_covered_counts_the_interval_s_ends_as_inside() -> None:
    assert covered(np.array([1.0, 2, 3, 4]), np.zeros(4), 2.0) == 0.5


def test_the_interval_covers_what_it_says_on_fresh_rows() -> None:
    random = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        calibration, fresh = random.normal(size=50), random.normal(size=50)
        covered.append(np.mean(np.abs(fresh) <= half_width(calibration, np.zeros(50), 0.8)))
    assert np.mean(covered) == pytest.approx(0.82, abs=0.02)  # exact: ceil(51 * 0.8) / 51 = 0.804
