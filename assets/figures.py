"""Pictures for the asset pages: a candidate's answers against the truth, as PNG inside Markdown."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from learning.training.evaluate import confusion
from learning.training.train import Judged
from mliot.usecase import UseCase

MAX_POINTS = 2000
"""Points drawn of a longer holdout, evenly spaced: a page should stay light."""


def judged_figure(use_case: UseCase, judged: Judged) -> Figure:
    """The confusion matrix of a class, the residuals over time of a number."""
    return _confusion(use_case, judged) if use_case.kind == "class" else _residuals(use_case, judged)


def as_markdown(figure: Figure, alt: str) -> str:
    """``figure`` as an image that is part of the text."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return f"![{alt}](data:image/png;base64,{b64encode(file.getvalue()).decode()})"


def _confusion(use_case: UseCase, judged: Judged) -> Figure:
    counts = np.array(confusion(judged.labels, judged.candidate, use_case.classes))
    figure = Figure(figsize=(4.4, 4), dpi=90, layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black")
    ticks = range(len(use_case.classes))
    axes.set(xticks=ticks, xticklabels=use_case.classes, yticks=ticks, yticklabels=use_case.classes)
    axes.set(title=f"{use_case.title} on the holdout", xlabel=f"answered, {use_case.unit}", ylabel=f"true, {use_case.unit}")
    return figure


def _residuals(use_case: UseCase, judged: Judged) -> Figure:
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
