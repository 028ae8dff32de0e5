# mypy: disable-error-code="untyped-decorator"
# (BentoML's decorators are unknown to the type checker)
"""A BentoML service as its first page shows one, around a scikit-learn model: ``bentoml serve benchmarks.peers.sklearn_service:Forest``."""

import os
from typing import Any

import bentoml
import joblib  # type: ignore[import-untyped]
import numpy as np


@bentoml.service
class Forest:
    """Answers rows with the model in the file that ``MODEL_FILE`` names."""

    def __init__(self) -> None:
        self._model: Any = joblib.load(os.environ["MODEL_FILE"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The class of each row."""
        return np.asarray(self._model.predict(rows))
