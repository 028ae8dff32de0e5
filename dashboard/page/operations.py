"""Services, commands and dead letters."""

from nicegui.element import Element

from dashboard.page.elements import Age, Keyed, Rebuilt, box, link, text
from dashboard.view.operations import CommandView, Problem, RefusalView, ServiceView, Tone, UnknownView


def problem_list(parent: Element) -> Keyed[Problem]:
    return Keyed(parent, lambda problem: problem.text, lambda view: Rebuilt(box("li"), _problem, view))


def service_list(parent: Element) -> Keyed[ServiceView]:
    return Keyed(parent, lambda service: service.name, lambda view: Rebuilt(box("li", "service"), _service, view))


def command_list(parent: Element) -> Keyed[CommandView]:
    return Keyed(parent, lambda command: command.id, lambda view: Rebuilt(box("li", "command"), _command, view))


def refusal_list(parent: Element) -> Keyed[RefusalView]:
    return Keyed(parent, lambda refusal: refusal.id, lambda view: Rebuilt(box("li", "refusal"), _refusal, view))


def unknown_list(parent: Element) -> Keyed[UnknownView]:
    return Keyed(parent, lambda unknown: unknown.name, lambda view: Rebuilt(box("li", "unknown"), _unknown, view))


def _state(glyph: str, word: str, tone: Tone) -> None:
    """A state as a sign and a word, and by colour besides."""
    with box("span", f"state {tone}"):
        text("span", glyph, "glyph", aria_hidden="true")
        text("span", word)


def _problem(view: Problem) -> None:
    text("span", view.text)
    if view.since:
        text("span", ", noticed ")
        Age(view.since)


def _service(view: ServiceView) -> None:
    text("span", view.name, "name")
    _state(view.glyph, view.state, view.tone)
    with box("span", "pace"):
        text("span", view.rate, "number")
        text("span", view.lag, "number note")
    for remark in view.remarks:
        text("p", remark, "note")
    if view.error:
        with box("p", "error"):
            text("span", f"last error: {view.error}")
            Age(view.error_at)


def _command(view: CommandView) -> None:
    with box("div", "origin"):
        link(view.order, view.trace, "name", title="Trace of this command")
        Age(view.decided)
    with box("div", "detail"):
        _state(view.glyph, view.state, view.tone)
        if view.took:
            text("span", view.took, "number")
        text("span", view.place, "note")
    if view.reason:
        text("p", view.reason, "note")


def _refusal(view: RefusalView) -> None:
    text("span", view.letters, "number count")
    with box("div", "why"):
        link(view.reason, view.trace, "name", title="The newest of them")
        with box("span", "note"):
            text("span", f"{view.service}, newest ")
            Age(view.newest)


def _unknown(view: UnknownView) -> None:
    text("span", view.text)
    with box("span", "note"):
        text("span", ", newest ")
        Age(view.newest)
