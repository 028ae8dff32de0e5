"""The models in charge, with their live scores."""

from nicegui.element import Element

from dashboard.page.elements import Age, Keyed, Rebuilt, box, link, text
from dashboard.view.models import CandidateView, ModelView, ParityView, ScoreView

_GLYPHS = {True: "▲", False: "▼", None: "="}
_TONES = {True: "good", False: "bad", None: "idle"}


def model_list(parent: Element) -> Keyed[ModelView]:
    """One block a use case."""
    return Keyed(parent, lambda model: model.use_case, lambda view: Rebuilt(box("article", "model"), _model, view))


def parity_line(view: ParityView) -> None:
    """Whether what is served is what is built, and when that was looked at."""
    text("span", view.text, "" if view.equal else "bad")
    if view.checked:
        text("span", ", ")
        Age(view.checked)


def _model(view: ModelView) -> None:
    with box("div", "origin"):
        text("h3", view.title)
        if view.since:
            with box("span", "note"):
                text("span", "in charge since ")
                Age(view.since)
    if view.waits_for:
        text("p", view.waits_for, "empty")
    for problem in view.problems:
        text("p", problem, "bad")
    if view.version:
        with box("dl", "facts"):
            for name, value in (("version", view.version), ("features", view.feature_version), ("estimator", view.estimator)):
                text("dt", name)
                text("dd", value)
    if view.candidate:
        _candidate(view.candidate)
    if view.report:
        with box("p", "note"):
            link("drift report", view.report.href, title=view.report.made)
            text("span", ", ")
            Age(view.report.stamp)
    for score in view.scores:
        _score(score)


def _candidate(view: CandidateView) -> None:
    with box("div", "candidate"):
        with box("p", "note"):
            text("span", f"newest candidate {view.verdict}")
            if view.trained:
                text("span", ", trained ")
                Age(view.trained)
        text("p", view.why)
        text("p", view.advice, "note")


def _score(view: ScoreView) -> None:
    with box("div", "score"):
        with box("p", "who"):
            text("span", view.who, "tag")
            text("span", view.version, "version")
        if view.waits_for:
            text("p", view.waits_for, "empty")
            return
        with box("p", "measured"):
            text("span", f"{view.measure} ")
            text("strong", view.value, "number")
            if view.baseline:
                text("span", f", last value {view.baseline}", "note")
        with box("p", "note"):
            text("span", f"{_GLYPHS[view.ahead]} {view.verdict}", f"verdict {_TONES[view.ahead]}")
            text("span", f", {view.rows}")
