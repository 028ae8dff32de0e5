"""What every kind of task has in common."""

import subprocess
import sys

import pytest

from learning.tasks import kinds, load_task


def test_the_metric_tells_who_is_ahead_whether_high_or_low_is_better() -> None:
    share, error = load_task("classification").metric, load_task("regression").metric
    assert [share.is_ahead(0.9, 0.5), share.is_ahead(0.4, 0.5), share.is_ahead(0.5, 0.5)] == [True, False, None]
    assert [error.is_ahead(0.9, 0.5), error.is_ahead(0.4, 0.5), error.is_ahead(0.5, 0.5)] == [False, True, None]
    assert (share.of(0.25), error.of(0.25)) == (0.75, 0.25)
    assert (share.loss_title("level"), error.loss_title("L/s")) == ("1 - macro F1", "mean absolute error, L/s")


@pytest.mark.parametrize("kind", kinds())
def test_a_task_s_name_is_its_file_s(kind: str) -> None:
    assert load_task(kind).name == kind


def test_whoever_only_asks_loads_nothing_that_fits_or_draws() -> None:
    """Endpoint, stream and dashboard ask tasks at their start; scikit-learn, River and matplotlib take seconds and much memory."""
    script = """
import sys
from usecases import load_use_cases
from learning.tasks import kinds, load_task
assert load_use_cases() and all(load_task(kind).metric.key for kind in kinds())
print(sorted({"sklearn", "skl2onnx", "matplotlib", "river"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
