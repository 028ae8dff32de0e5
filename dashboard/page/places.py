"""A place's card: readings with their age, predictions, charts. Elements stay and only their text changes."""

from nicegui.element import Element

from dashboard.page.elements import Age, ChartElement, Keyed, box, link, set_attribute, text
from dashboard.view.charts import Chart
from dashboard.view.places import AnswerView, DeviceView, PlaceView, ValueView


class ValueCell:
    def __init__(self, view: ValueView) -> None:
        with box("div", "value") as self.root:
            text("dt", view.name)
            with box("dd"):
                self._text = text("span", view.text, "number")
                text("span", view.unit, "unit")

    def show(self, view: ValueView) -> None:
        self._text.text = view.text


class DeviceBlock:
    """Values of one frame; the stylesheet fades them when the age within is old."""

    def __init__(self, view: DeviceView) -> None:
        with box("section", "device ages") as self.root:
            with box("div", "origin"):
                self._name = link(view.device, view.trace, "name", title="Trace of this reading")
                self._age = Age(view.stamp)
            self._values = Keyed[ValueView](box("dl", "values"), lambda v: f"{v.name}\0{v.unit}", ValueCell)
            self._more = text("p", view.more, "note")
        self._values.show(view.values)

    def show(self, view: DeviceView) -> None:
        set_attribute(self._name, "href", view.trace)
        self._age.show(view.stamp)
        self._values.show(view.values)
        self._more.text = view.more


class AnswerBlock:
    def __init__(self, view: AnswerView) -> None:
        with box("section", "answer ages") as self.root:
            with box("div", "origin"):
                self._title = link(view.title, view.trace, "name", title="Trace of this prediction")
                self._age = Age(view.stamp)
            with box("p", "predicted"):
                self._text = text("strong", view.text, "number")
                self._sure = text("span", view.sure, "note")
            self._waits_for = text("p", view.waits_for, "empty")
        self.show(view)

    def show(self, view: AnswerView) -> None:
        set_attribute(self._title, "href", view.trace or None)
        self._age.show(view.stamp)
        self._text.text = view.text
        self._sure.text = view.sure
        self._waits_for.text = view.waits_for


class PlaceCard:
    def __init__(self, view: PlaceView) -> None:
        with box("article", "card place") as self.root:
            text("h3", view.place_id)
            self._answers = Keyed[AnswerView](box("div", "answers"), lambda a: a.title, AnswerBlock)
            self._charts = Keyed[Chart](box("div", "charts"), lambda c: c.title, ChartElement)
            self._devices = Keyed[DeviceView](box("div", "devices"), lambda d: d.device, DeviceBlock)
            self._more = text("p", view.more, "note")
        self.show(view)

    def show(self, view: PlaceView) -> None:
        self._answers.show(view.answers)
        self._charts.show(view.charts)
        self._devices.show(view.devices)
        self._more.text = view.more


def place_grid(parent: Element) -> Keyed[PlaceView]:
    """The cards of all places, by name."""
    return Keyed(parent, lambda place: place.place_id, PlaceCard)
