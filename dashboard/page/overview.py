"""The overview: built once a viewer, then only changed where its view changes."""

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from dashboard.page.elements import Rebuilt, box, text
from dashboard.page.models import model_list, parity_line
from dashboard.page.operations import command_list, problem_list, refusal_list, service_list, unknown_list
from dashboard.page.places import place_grid
from dashboard.view.overview import Overview


class OverviewPage:
    """The elements of one viewer's page. ``status`` stands in the header."""

    def __init__(self, status: TextElement, view: Overview) -> None:
        self._status = status
        self._shown: Overview | None = None
        self._problems_box = box("ul", "problems", role="alert")
        self._problems = problem_list(self._problems_box)
        with box("div", "columns"):
            with box("section", "places", aria_label="Places"):
                self._places_note = text("p", "", "empty")
                self._places = place_grid(box("div", "grid"))
            with box("div", "side"):
                with _panel("Models in charge"):
                    self._models = model_list(box("div", "list"))
                    self._parity = Rebuilt(box("p", "note parity"), parity_line, view.parity)
                with _panel("Commands"):
                    self._commands_note = text("p", "", "empty")
                    self._commands = command_list(box("ol", "list scrolls"))
                with _panel("Services"):
                    self._services = service_list(box("ul", "list services"))
                with _panel("Dead letters"):
                    self._refusals_note = text("p", "", "note")
                    self._refusals = refusal_list(box("ul", "list"))
                self._unknown_panel = _panel("Unknown measurements")
                with self._unknown_panel:
                    text("p", "Kept in their frames, but in no feature: mliot measurements unknown lists them by device.", "note")
                    self._unknown = unknown_list(box("ul", "list"))
        self.show(view)

    def show(self, view: Overview) -> None:
        """Sends what differs from what is shown."""
        if view == self._shown:
            return
        shown, self._shown = self._shown, view
        self._status.text = view.status
        self._status.classes(add="good" if view.live else "bad", remove="bad" if view.live else "good")
        self._problems.show(view.problems)
        self._problems_box.set_visibility(bool(view.problems))
        self._places_note.text = view.places_note
        self._places.show(view.places)
        self._models.show(view.models)
        if shown is None or shown.parity != view.parity:
            self._parity.show(view.parity)
        self._commands_note.text = view.commands_note
        self._commands.show(view.commands)
        self._services.show(view.services)
        self._refusals_note.text = view.refusals.summary
        self._refusals.show(view.refusals.reasons)
        self._unknown.show(view.unknown)
        self._unknown_panel.set_visibility(bool(view.unknown))


def _panel(title: str) -> Element:
    panel = box("section", "card panel")
    with panel:
        text("h2", title)
    return panel
