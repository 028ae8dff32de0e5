"""How much: a number with its interval, told by the mean absolute error.

It is judged by that error, so models are fitted to it or, the linear one, to Huber's loss close by: both answer with the middle of what
is plausible, where squared errors would chase the few readings of a burst or of a sensor that failed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from learning.tasks.task import Floats, Judged, Matrix, Metric, Scores, Task
from mliot.usecase import UseCase

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from learning.models.online import Learner

MAX_POINTS = 2000
"""Points drawn of a longer holdout, evenly spaced: a page should stay light."""


class Regression(Task):
    """The loss is the mean absolute error, in the label's unit."""

    metric = Metric("mae", "mean absolute error", "mean error", share=False)
    interval = True

    def fault(self, use_case: UseCase) -> str:
        return f"kind {self.name!r} has no classes" if use_case.classes else ""

    def loss(self, labels: Floats, answers: Floats) -> float:
        return float(np.mean(np.abs(labels - answers)))

    def forest(self, **parameters: Any) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(criterion="absolute_error", **parameters)

    def boosting(self, **parameters: Any) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(loss="absolute_error", **parameters)

    def linear(self, penalty: float) -> Any:
        from learning.models.huber import StandardHuber

        return StandardHuber(alpha=penalty, max_iter=1000)

    def online(self, use_case: UseCase) -> "Learner":
        from learning.models.online import OnlineRegression

        return OnlineRegression(use_case)

    def converters(self) -> Mapping[type, str]:
        from learning.models.huber import StandardHuber

        return {StandardHuber: "SklearnLinearRegressor"}

    def scores(self, outputs: Sequence[npt.NDArray[Any]]) -> Scores:
        return Scores(outputs[0].reshape(-1).astype(np.float64), None)

    def parity(self, pipeline: Any, values: Matrix, answers: Floats) -> float:
        """The largest difference, relative to the answer or to the answers' mean size, whichever is larger."""
        native = np.asarray(pipeline.predict(values), dtype=np.float64)
        size = np.maximum(np.abs(native), np.abs(native).mean())
        return float(np.max(np.abs(native - answers) / np.where(size == 0, 1, size)))

    def figure(self, use_case: UseCase, judged: Judged) -> "Figure":
        """What the answers lie above or below the truth, over time, the baseline's too."""
        from matplotlib.figure import Figure

        picked = np.unique(np.linspace(0, len(judged.labels) - 1, min(len(judged.labels), MAX_POINTS)).astype(int))
        at = np.array(judged.at_ms, dtype="datetime64[ms]")[picked]
        figure = Figure(figsize=(6.6, 3.4), dpi=90, layout="constrained")
        axes = figure.subplots()
        for name, answers, colour in (("baseline", judged.baseline, "#c0c4cc"), ("candidate", judged.candidate, "#1f77b4")):
            axes.plot(at, (answers - judged.labels)[picked], ".", label=name, color=colour, markersize=4)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set(title=f"{use_case.title} on the holdout", ylabel=f"answer minus truth, {use_case.unit}")
        axes.tick_params(axis="x", rotation=25)
        axes.legend(frameon=False)
        return figure


TASK = Regression()
