"""From a fitted pipeline to an ONNX file that answers alike, and how far it does."""

import copy
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from learning.scoring import INPUT, Scorer
from learning.tasks.task import Matrix, Task
from learning.training.change import Change

_BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


def convert(pipeline: Pipeline | Change, task: Task, columns: Sequence[str]) -> bytes:
    """The ONNX model of ``pipeline``: input ``features`` (float, any number of rows, the columns in this order), NaN where missing.

    Its metadata property ``columns`` holds their names. What it answers, the task reads (:meth:`Task.scores`).
    """
    own = task.converters()
    model = convert_sklearn(
        pipeline.pipeline if isinstance(pipeline, Change) else pipeline,
        name="mliot",  # else a random one: the same model would have another digest each time
        initial_types=[(INPUT, FloatTensorType([None, len(columns)]))],
        options=task.onnx_options,
        custom_conversion_functions={
            **{one: get_converter(alias) for one, alias in own.items()},
            **{one: _boosting_converter(one) for one in _BOOSTING},
        },
        custom_shape_calculators={
            **{one: get_shape_calculator(alias) for one, alias in own.items()},
            **{one: get_shape_calculator(_name(one)) for one in _BOOSTING},
        },
    )
    if isinstance(pipeline, Change):
        _add_back(model, pipeline)
    model.metadata_props.add(key="columns", value="\n".join(columns))
    return bytes(model.SerializeToString())


def p99_ms(scorer: Scorer, values: Matrix, calls: int = 500) -> float:
    """The 99th percentile of the time that one row takes, in milliseconds, over ``calls`` calls after a tenth as many to warm up."""
    took = np.empty(calls)
    for call in range(-(calls // 10), calls):
        row = values[[call % len(values)]]
        began = perf_counter()
        scorer.score(row)
        took[max(call, 0)] = perf_counter() - began
    return float(np.quantile(took, 0.99) * 1000)


def _add_back(model: ModelProto, change: Change) -> None:
    """Adds the column that the answers are relative to, its typical value where it is missing, behind ``model``'s only output."""
    graph = model.graph
    (output,) = graph.output
    learnt, output.name = output.name, "answer"
    graph.initializer.extend(
        [numpy_helper.from_array(np.array([change.column]), "column"), numpy_helper.from_array(np.array([change.typical]), "typical")]
    )
    graph.node.extend(
        [
            helper.make_node("Gather", [INPUT, "column"], ["level_read"], axis=1),
            helper.make_node("IsNaN", ["level_read"], ["level_missing"]),
            helper.make_node("Where", ["level_missing", "typical", "level_read"], ["level"]),
            helper.make_node("Add", [learnt, "level"], [output.name]),
        ]
    )


class _PlainIntegers:
    """A conversion container that is given Python integers only: newer protobuf refuses the booleans that skl2onnx puts among them."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *positional: Any, **named: Any) -> None:
        self._container.add_node(*positional, **{name: _plain(value) for name, value in named.items()})


def _plain(value: Any) -> Any:
    return [int(one) for one in value] if isinstance(value, list) and not any(isinstance(one, str) for one in value) else value


def _name(boosting: type) -> str:
    return f"Sklearn{boosting.__name__}"


def _boosting_converter(boosting: type) -> Callable[[Any, Any, Any], None]:
    converter = get_converter(_name(boosting))

    def convert_boosting(scope: Any, operator: Any, container: Any) -> None:
        operator.raw_operator = _rounded_down(operator.raw_operator)
        converter(scope, operator, _PlainIntegers(container))

    return convert_boosting


def _rounded_down(model: Any) -> Any:
    """A copy whose thresholds are rounded down to single precision.

    The trees ask ``x <= threshold`` in double precision, ONNX in single: rounded to nearest, a threshold could become the very next
    value above it, whose rows would then go the other way. Rounded down, every single-precision ``x`` goes the same way.
    """
    rounded = copy.deepcopy(model)
    for trees in rounded._predictors:
        for tree in trees:
            threshold = tree.nodes["num_threshold"]
            nearest = threshold.astype(np.float32)
            tree.nodes["num_threshold"] = np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return rounded
