"""What a kind of task decides: which labels, which loss, which models, how they are converted and read, drawn and told.

Two things are the same for every kind, so that what is judged is what will be served: the split by time (:mod:`learning.training.split`)
and the baseline, the newest label known when a row ended, which the SQL of training sets and of live scores takes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mliot.usecase import UseCase

if TYPE_CHECKING:  # they take seconds to import, and whoever only scores fits and draws nothing
    from matplotlib.figure import Figure

    from learning.models.online import Learner

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """Answers in the rows' order, and where the task has classes, the probability of each answer."""

    values: Floats
    probabilities: Floats | None


@dataclass(frozen=True)
class Judged:
    """The holdout rows that all three answered: what was true, and each one's answers. For plots and for whoever doubts a score."""

    at_ms: Sequence[int]
    labels: Floats
    candidate: Floats
    baseline: Floats
    champion: Floats | None


@dataclass(frozen=True)
class Metric:
    """The number that people are told: a ``share`` (1 is perfect, its loss is what lacks to 1), or an error in the label's unit.

    ``key`` is its name on cards, ``title`` the one in a text, ``short`` the one where there is little room.
    """

    key: str
    title: str
    short: str
    share: bool

    def of(self, loss: float) -> float:
        """The metric where the loss is ``loss``."""
        return 1 - loss if self.share else loss

    def loss_title(self, unit: str) -> str:
        """What the loss is called, of a label in ``unit``."""
        return f"1 - {self.title}" if self.share else f"{self.title}, {unit}"

    def is_ahead(self, value: float, other: float) -> bool | None:
        """True where ``value`` is better than ``other``; None where they are equal."""
        return None if value == other else (value > other) == self.share


class Task(ABC):
    """One kind of task. It has no state, and its file's name is its name."""

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """What is told of a loss."""

    interval: bool = False
    """True where answers have a split-conformal interval: where they are the middle of what is plausible."""

    @abstractmethod
    def fault(self, use_case: UseCase) -> str:
        """What is wrong with a use case of this kind, in one line; empty where nothing is."""

    @abstractmethod
    def loss(self, labels: Floats, answers: Floats) -> float:
        """How far ``answers`` lie from ``labels``: less is better, 0 is perfect."""

    def lacks(self, labels: Floats) -> str:  # noqa: ARG002 (those that need no labels of several kinds learn from any)
        """Why nothing can be learnt from these labels, in one line; empty where something can."""
        return ""

    def target(self, labels: Floats) -> npt.NDArray[Any]:
        """The labels as the models are fitted to them."""
        return labels

    @abstractmethod
    def forest(self, **parameters: Any) -> Any:
        """scikit-learn's forest of this task, not fitted, with these of its parameters."""

    @abstractmethod
    def boosting(self, **parameters: Any) -> Any:
        """scikit-learn's histogram gradient boosting of this task, not fitted, with these of its parameters."""

    @abstractmethod
    def linear(self, penalty: float) -> Any:
        """The linear model of this task for scaled columns, not fitted."""

    @abstractmethod
    def online(self, use_case: UseCase) -> "Learner":
        """The linear model that learns a row at a time, of nothing yet."""

    def converters(self) -> Mapping[type, str]:
        """Models of this task that ONNX conversion does not know, each with the skl2onnx alias of one that answers by the same formula."""
        return {}

    @property
    def onnx_options(self) -> Mapping[str, Any] | None:
        """What skl2onnx must be told about models of this task."""
        return None

    @abstractmethod
    def scores(self, outputs: Sequence[npt.NDArray[Any]]) -> Scores:
        """What a converted model's outputs say."""

    @abstractmethod
    def parity(self, pipeline: Any, values: Matrix, answers: Floats) -> float:
        """How far ``answers``, the converted model's to ``values``, differ from those of ``pipeline``; 0 is not at all."""

    @abstractmethod
    def figure(self, use_case: UseCase, judged: Judged) -> "Figure":
        """The answers beside the truth."""
