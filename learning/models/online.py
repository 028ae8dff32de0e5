"""River's linear models behind one face: learn, predict, and a state that is plain JSON. The task says which one is its own."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from math import isfinite
from typing import Any, Protocol

import msgspec
from river import linear_model, optim, preprocessing
from river.utils import VectorDict

from mliot.usecase import UseCase

Answer = tuple[float, float | None]
"""Value and, for a class, its probability."""
MIN_LEARNT = 10
"""A model that has seen fewer labels says nothing: its answers would be noise beside the baseline."""


class Learner(Protocol):
    """A model that learns one row at a time; ``version`` names how much it has learnt."""

    @property
    def version(self) -> str: ...
    def learn(self, values: Mapping[str, float], label: float) -> None: ...
    def predict(self, values: Mapping[str, float]) -> Answer | None: ...
    def state(self) -> "State": ...
    def restore(self, state: msgspec.Raw) -> None:
        """Goes on from a state in JSON. Raises ``msgspec.DecodeError`` where it is none of this kind of model, which stays as it was."""


class State(msgspec.Struct):
    """What both kinds of model keep: labels learnt, and count, mean and variance of each column."""

    learnt: int
    counts: dict[str, int]
    means: dict[str, float]
    vars: dict[str, float]


class RegressionState(State):
    """``label`` is count, mean and variance of the label, or of its change."""

    weights: dict[str, float]
    intercept: float
    steps: int
    label: tuple[int, float, float]


class ClassificationState(State):
    """By class."""

    weights: dict[int, dict[str, float]]
    steps: dict[int, int]


class _Linear:
    """What both kinds share: the columns, running standardisation (Welford 1962), and the count that makes the version.

    A missing value is left out, which after standardisation means the mean.
    """

    def __init__(self, use_case: UseCase) -> None:
        self._columns = use_case.columns
        self._scaler = preprocessing.StandardScaler()
        self._learnt = 0

    @property
    def version(self) -> str:
        return f"online-{self._learnt}"

    def _scaled(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(self._scaler.transform_one(self._known(values)))

    def _absorb(self, values: Mapping[str, float]) -> dict[str, float]:
        known = self._known(values)
        self._scaler.learn_one(known)
        self._learnt += 1
        return dict(self._scaler.transform_one(known))

    def _known(self, values: Mapping[str, float]) -> dict[str, float]:
        return {column: values[column] for column in self._columns if column in values}

    def _common_state(self) -> dict[str, Any]:
        scaler = self._scaler
        return {"learnt": self._learnt, "counts": dict(scaler.counts), "means": dict(scaler.means), "vars": dict(scaler.vars)}

    def _restore_common(self, state: State) -> None:
        self._learnt = state.learnt
        self._scaler.counts = Counter(state.counts)
        self._scaler.means = defaultdict(float, state.means)
        self._scaler.vars = defaultdict(float, state.vars)


class OnlineRegression(_Linear):
    """A linear model by stochastic gradient descent on the standardised label, gradients clipped against outliers.

    ``loss`` is least squares where none is given. Where the use case says ``relative_to``, the change from that column is learnt; a row
    without it is passed over.
    """

    def __init__(self, use_case: UseCase, loss: optim.losses.RegressionLoss | None = None) -> None:
        super().__init__(use_case)
        self._model = linear_model.LinearRegression(optimizer=optim.SGD(0.02), loss=loss, l2=1e-4, clip_gradient=10.0)
        self._label = preprocessing.StandardScaler()
        self._relative_to = use_case.relative_to

    def learn(self, values: Mapping[str, float], label: float) -> None:
        level = self._level(values)
        if level is None:
            return
        self._label.learn_one({"y": label - level})
        self._model.learn_one(self._absorb(values), self._label.transform_one({"y": label - level})["y"])

    def predict(self, values: Mapping[str, float]) -> Answer | None:
        level = self._level(values)
        if level is None or self._learnt < MIN_LEARNT:
            return None
        scaled = self._model.predict_one(self._scaled(values))
        value = level + self._label.means["y"] + float(scaled) * self._label.vars["y"] ** 0.5
        return (value, None) if isfinite(value) else None

    def _level(self, values: Mapping[str, float]) -> float | None:
        return values.get(self._relative_to) if self._relative_to else 0.0

    def state(self) -> RegressionState:
        label = self._label
        return RegressionState(
            **self._common_state(),
            weights=dict(self._model.weights),
            intercept=self._model.intercept,
            steps=self._model.optimizer.n_iterations,
            label=(label.counts["y"], label.means["y"], label.vars["y"]),
        )

    def restore(self, state: msgspec.Raw) -> None:
        found = msgspec.json.decode(state, type=RegressionState)
        self._restore_common(found)
        self._model._weights = VectorDict(found.weights, None)
        self._model.intercept = found.intercept
        self._model.optimizer.n_iterations = found.steps
        self._label.counts["y"], self._label.means["y"], self._label.vars["y"] = found.label


class OnlineClassification(_Linear):
    """Softmax regression by stochastic gradient descent."""

    def __init__(self, use_case: UseCase) -> None:
        super().__init__(use_case)
        self._rate = 0.05
        self._model = linear_model.SoftmaxRegression(optimizer=optim.SGD(self._rate), l2=1e-4)

    def learn(self, values: Mapping[str, float], label: float) -> None:
        self._model.learn_one(self._absorb(values) | {"bias": 1.0}, int(label))

    def predict(self, values: Mapping[str, float]) -> Answer | None:
        if self._learnt < MIN_LEARNT:
            return None
        shares = self._model.predict_proba_one(self._scaled(values) | {"bias": 1.0})
        best = max(sorted(shares), key=shares.__getitem__)
        return (float(best), float(shares[best])) if isfinite(shares[best]) else None

    def state(self) -> ClassificationState:
        return ClassificationState(
            **self._common_state(),
            weights={label: dict(weights) for label, weights in self._model.weights.items()},
            steps={label: optimizer.n_iterations for label, optimizer in self._model.optimizers.items()},
        )

    def restore(self, state: msgspec.Raw) -> None:
        found = msgspec.json.decode(state, type=ClassificationState)
        self._restore_common(found)
        for label, weights in found.weights.items():
            self._model.weights[label] = defaultdict(float, weights)
        for label, steps in found.steps.items():
            self._model.optimizers[label].n_iterations = steps
