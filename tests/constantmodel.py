"""A model that answers the same to every row: for tests that need a champion, and no training."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from learning.card import DataSnapshot, Interval, ModelCard
from learning.gate import Evidence, judge
from learning.store import ModelStore
from learning.tasks import load_task
from mliot.usecase import UseCase


def constant_onnx(answer: float, classes: Sequence[int], columns: int) -> bytes:
    """An ONNX model that answers ``answer`` to every row, shaped as those that training makes."""
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])
    rows = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "zero"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros", "axis"], ["zero_each"], keepdims=1),
    ]
    if not classes:
        answers = [helper.make_node("Add", ["zero_each", "answer"], ["variable"])]
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
        value = np.array([[answer]], dtype=np.float32)
    else:
        answers = [
            helper.make_node("Add", ["zero_each", "answer"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        outputs = [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(classes)]),
        ]
        others = 0.25 / (len(classes) - 1)
        value = np.array([[0.75 if one == answer else others for one in classes]], dtype=np.float32)
    constants = {"zero": np.zeros((1, columns), np.float32), "axis": np.array([1], np.int64), "answer": value}
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([*rows, *answers], "constant", [features], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def save_constant_model(
    store: ModelStore, use_case: UseCase, answer: float, *, created_ms: int = 1_764_000_000_000, **changes: object
) -> str:
    """Saves a model of ``use_case`` that answers the same to every row; returns its version. Classes must be 0, 1, 2, ..."""
    card = {
        "use_case": use_case.name,
        "title": use_case.title,
        "kind": use_case.kind,
        "unit": use_case.unit,
        "classes": use_case.classes,
        "features": use_case.features,
        "columns": use_case.columns,
        "feature_version": "feature-1",
        "estimator": f"constant({answer:g})",
        "data": DataSnapshot(rows=10, first_ms=0, last_ms=600_000, digest="0f"),
        "typical": dict.fromkeys(use_case.columns, 1.5),
        "metrics": {load_task(use_case.kind).metric.key: 0.5},
        "evidence": Evidence(rows=10, loss=0.5, baseline_loss=0.6, champion_loss=None, parity=0, p99_ms=0.1, size_mb=0.1),
        "interval": Interval(half_width=0.5, coverage=0.9) if load_task(use_case.kind).interval else None,
        "created_ms": created_ms,
        "libraries": {},
    }
    card |= changes
    onnx_model = constant_onnx(answer, use_case.classes, len(use_case.columns))
    return store.save(ModelCard(**{"verdict": judge(use_case.gate, card["evidence"]), **card}), onnx_model)
