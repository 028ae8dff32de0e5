"""The building blocks of the pages: plain HTML elements with text, a ticking age, a chart, the theme switch, and lists by key.

Whatever is shown goes in as text or as an attribute, never as HTML.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Generic, Protocol, TypeVar

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from dashboard.view.charts import HEIGHT, WIDTH, Chart
from dashboard.view.wording import Stamp

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


def box(tag: str, classes: str = "", **attributes: str) -> Element:
    """An HTML element to be filled."""
    element = Element(tag).classes(classes)
    for name, value in attributes.items():
        element.props[name.replace("_", "-")] = value
    return element


def text(tag: str, content: str = "", classes: str = "", **attributes: str) -> TextElement:
    """An HTML element with text in it."""
    element = TextElement(tag=tag, text=content).classes(classes)
    for name, value in attributes.items():
        element.props[name.replace("_", "-")] = value
    return element


def link(content: str, href: str, classes: str = "", **attributes: str) -> TextElement:
    return text("a", content, classes, href=href, **attributes)


def set_attribute(element: Element, name: str, value: object) -> None:
    """Sends the attribute where it is another than before."""
    if element.props.get(name) != value:
        element.props[name] = value
        element.update()


class Age(Element, component="age.js"):
    """``12 s ago``, ticking in the browser, so that it grows without the server; an old one says so."""

    def __init__(self, stamp: Stamp | None) -> None:
        super().__init__()
        self.show(stamp)

    def show(self, stamp: Stamp | None) -> None:
        set_attribute(self, "at", stamp.at_ms if stamp else None)
        set_attribute(self, "old-after", stamp.old_after_ms if stamp else None)


class ChartElement(Element, component="chart.js"):
    """A small chart whose points lead to their traces."""

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.root: Element = self
        self.props["width"], self.props["height"] = WIDTH, HEIGHT
        self.show(chart)

    def show(self, chart: Chart) -> None:
        set_attribute(self, "chart", asdict(chart))


class ThemeSwitch(Element, component="theme.js"):
    """Follow the system, light or dark; the browser remembers it."""


class Row(Protocol[V_contra]):
    """Something that shows one view and can be shown another."""

    root: Element

    def show(self, view: V_contra, /) -> None: ...


class Keyed(Generic[V]):
    """The rows of a list by key: each keeps its elements while its view changes, so that focus and scrolling stay where they are."""

    def __init__(self, parent: Element, key: Callable[[V], str], make: Callable[[V], Row[V]]) -> None:
        self._parent = parent
        self._key = key
        self._make = make
        self._rows: dict[str, tuple[V, Row[V]]] = {}

    def show(self, views: Iterable[V]) -> None:
        """Makes, changes, moves and removes rows until they are those of ``views``, whose keys must differ."""
        wanted = {self._key(view): view for view in views}
        for key in self._rows.keys() - wanted.keys():
            self._rows.pop(key)[1].root.delete()
        for key, view in wanted.items():
            self._rows[key] = self._row(key, view)
        children = self._parent.default_slot.children
        for at, key in enumerate(wanted):
            root = self._rows[key][1].root
            if children[at] is not root:
                root.move(target_index=at)

    def _row(self, key: str, view: V) -> tuple[V, Row[V]]:
        if key not in self._rows:
            with self._parent:
                return view, self._make(view)
        before, row = self._rows[key]
        if before != view:
            row.show(view)
        return view, row


class Rebuilt(Generic[V]):
    """A row without anything to keep: its content is built anew where its view changes."""

    def __init__(self, root: Element, build: Callable[[V], None], view: V) -> None:
        self.root = root
        self._build = build
        self.show(view)

    def show(self, view: V) -> None:
        self.root.clear()
        with self.root:
            self._build(view)
