"""Which of a few classes: told by macro F1, answered with a probability."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from learning.tasks.task import Floats, Judged, Matrix, Metric, Scores, Task
from mliot.usecase import UseCase

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from learning.models.online import Learner

TIE = 1e-5
"""Probabilities this close are a tie: sums of many trees in single precision may break it the other way."""


class Classification(Task):
    """The loss is 1 - macro F1."""

    metric = Metric("macro_f1", "macro F1", "macro F1", share=True)

    def fault(self, use_case: UseCase) -> str:
        if len(use_case.classes) < 2:
            return f"kind {self.name!r} needs classes, two or more whole numbers"
        if use_case.relative_to is not None:
            return f"relative_to is not for kind {self.name!r}: a class is not a sum"
        return ""

    def loss(self, labels: Floats, answers: Floats) -> float:
        return 1 - macro_f1(labels, answers)

    def lacks(self, labels: Floats) -> str:
        return f"all {len(labels)} rows to learn from have the label {labels[0]:g}" if len(np.unique(labels)) < 2 else ""

    def target(self, labels: Floats) -> npt.NDArray[Any]:
        return labels.astype(np.int64)

    def forest(self, **parameters: Any) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(**parameters)

    def boosting(self, **parameters: Any) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(loss="log_loss", **parameters)

    def linear(self, penalty: float) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=1 / penalty, max_iter=1000)

    def online(self, use_case: UseCase) -> "Learner":
        from learning.models.online import OnlineClassification

        return OnlineClassification(use_case)

    @property
    def onnx_options(self) -> Mapping[str, Any]:
        return {"zipmap": False}

    def scores(self, outputs: Sequence[npt.NDArray[Any]]) -> Scores:
        labels, probabilities = outputs
        return Scores(labels.astype(np.float64), probabilities.max(axis=1).astype(np.float64))

    def parity(self, pipeline: Any, values: Matrix, answers: Floats) -> float:
        """The share of rows whose class differs, where the native model prefers its own by more than single precision can tell."""
        probabilities = pipeline.predict_proba(values)
        answered = probabilities[np.arange(len(values)), np.searchsorted(pipeline.classes_, answers)]
        return float(np.mean(probabilities.max(axis=1) - answered > TIE))

    def figure(self, use_case: UseCase, judged: Judged) -> "Figure":
        """The confusion matrix."""
        from matplotlib.figure import Figure

        counts = confusion(judged.labels, judged.candidate, use_case.classes)
        figure = Figure(figsize=(4.4, 4), dpi=90, layout="constrained")
        axes = figure.subplots()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        ticks = range(len(use_case.classes))
        axes.set(xticks=ticks, xticklabels=use_case.classes, yticks=ticks, yticklabels=use_case.classes)
        axes.set(title=f"{use_case.title} on the holdout", xlabel=f"answered, {use_case.unit}", ylabel=f"true, {use_case.unit}")
        return figure


def macro_f1(labels: Floats, answers: Floats) -> float:
    """The mean F1 over the classes that ``labels`` show; a class that is never answered right counts 0."""
    shown = np.unique(labels)
    true, answered = labels == shown[:, None], answers == shown[:, None]
    return float(np.mean(2 * (true & answered).sum(axis=1) / (true.sum(axis=1) + answered.sum(axis=1))))


def confusion(labels: Floats, answers: Floats, classes: Sequence[int]) -> npt.NDArray[np.int64]:
    """How often each class (row) was answered as each class (column), in the order of ``classes``."""
    return np.array([[np.sum((labels == true) & (answers == answered)) for answered in classes] for true in classes])


TASK = Classification()
