"""Scoring rows with an ONNX model: the one way in which training, gate and endpoint all ask a model."""

from pathlib import Path

import numpy as np
import onnxruntime

from learning.tasks import load_task
from learning.tasks.task import Matrix, Scores
from mliot.errors import UserError

INPUT = "features"


class Scorer:
    """An ONNX model in memory. Safe to call from several threads; one call uses one thread."""

    def __init__(self, model: bytes | Path, *, kind: str, columns: int) -> None:
        """Load ``model`` and score one row with it, so that the first caller does not pay for it.

        Raises :class:`UserError` where it is not an ONNX model of this kind of task over so many columns, or where there is no such kind.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._task = load_task(kind)
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            self.score(np.zeros((1, columns), dtype=np.float32))
        except Exception as error:  # onnxruntime's errors share no base class below Exception
            name = str(model) if isinstance(model, Path) else "model"
            raise UserError(f"{name}: is not an ONNX model of kind {kind!r} over {columns} columns: {first_line(error)}") from error

    def score(self, rows: Matrix) -> Scores:
        """Scores of ``rows`` (float32, one column a feature in the card's order, NaN where missing)."""
        return self._task.scores(self._session.run(None, {INPUT: rows}))


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
