# mypy: disable-error-code="untyped-decorator"
# (BentoML's decorators are unknown to the type checker)
"""A BentoML service as its first page shows one, around an ONNX model: ``bentoml serve benchmarks.peers.onnx_service:Forest``."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Forest:
    """Answers rows with the model in the file that ``MODEL_FILE`` names."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # for single rows: with more, the runtime's threads take the core from the server's
        self._session = onnxruntime.InferenceSession(os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The class of each row."""
        return np.asarray(self._session.run(None, {self._input: rows.astype(np.float32)})[0])
