"""Scoring rows with an ONNX model: the one way in which training, gate and endpoint all ask a model."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from mliot.errors import UserError

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
INPUT = "features"


class Scores(NamedTuple):
    """Answers in the rows' order: class or number, and for classes the probability of the answer."""

    values: Floats
    probabilities: Floats | None


class Scorer:
    """An ONNX model in memory. Safe to call from several threads; one call uses one thread."""

    def __init__(self, model: bytes | Path, *, kind: Literal["class", "number"], columns: int) -> None:
        """Load ``model`` and score one row with it, so that the first caller does not pay for it.

        Raises :class:`UserError` where it is not an ONNX model of this kind over so many columns.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._kind = kind
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            self.score(np.zeros((1, columns), dtype=np.float32))
        except Exception as error:  # onnxruntime's errors share no base class below Exception
            name = str(model) if isinstance(model, Path) else "model"
            raise UserError(f"{name}: is not an ONNX model of kind {kind!r} over {columns} columns: {first_line(error)}") from error

    def score(self, rows: Matrix) -> Scores:
        """Scores of ``rows`` (float32, one column a feature in the card's order, NaN where missing)."""
        outputs = self._session.run(None, {INPUT: rows})
        if self._kind == "class":
            labels, probabilities = outputs
            return Scores(labels.astype(np.float64), probabilities.max(axis=1).astype(np.float64))
        return Scores(outputs[0].reshape(-1).astype(np.float64), None)


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
