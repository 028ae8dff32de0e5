"""The loss of numbers."""

import numpy as np
import pytest

from learning.tasks import load_task


def test_its_loss_is_the_mean_absolute_error() -> None:
    assert load_task("regression").loss(np.array([1.0, 2, 3]), np.array([1.0, 4, 2])) == pytest.approx(1.0)
