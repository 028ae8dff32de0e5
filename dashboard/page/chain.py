"""The trace page: the chain as a tree, a step a card, with the time between the steps."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from nicegui.element import Element

from dashboard.page.elements import Keyed, box, link, text
from dashboard.page.tracing import Traced
from dashboard.view.chain import StepView

NOTHING = "No such id in the store. A record is here within a second or two of its publication."
FOLLOWED = "it grows here by itself; "


class TracePage:
    """The chain around ``id`` as it stands, or in its place why there is none; shown again, only what changed is sent."""

    def __init__(self, id: str) -> None:
        with box("div", "asked"):
            text("h2", f"Trace of {id}")
            with box("p", "note"):
                self._as_of = text("span")
                link("read again", "")
        self._message = text("p", "", "empty")
        self._chain: Keyed[_Numbered] = _steps(box("ul", "chain"))
        self._original = box("div")
        self._has_original = False

    def show(self, found: Traced | str, as_of: str, *, followed: bool) -> None:
        """``found`` at the time ``as_of`` (UTC): a chain, or the message instead of one. ``followed``: more will be shown by itself."""
        self._as_of.text = f"as of {as_of} UTC; {FOLLOWED if followed else ''}"
        self._message.text = found if isinstance(found, str) else ""
        if isinstance(found, str):
            return  # what was read before stays in sight
        self._chain.show(_numbered([found.root]))
        if found.original and not self._has_original:
            self._has_original = True
            with self._original:
                _original(*found.original)


def _original(shown: str, size: str) -> None:
    """A dead letter's bytes."""
    with box("section", "card original"):
        text("h2", "Original record")
        text("p", size, "note")
        text("pre", shown)


_Numbered = tuple[str, StepView]


def _numbered(steps: Iterable[StepView]) -> Iterator[_Numbered]:
    """Each step with a key that no other one beside it has."""
    seen: dict[str, int] = {}
    for step in steps:
        key = f"{step.kind} {step.id}"
        seen[key] = seen.get(key, 0) + 1
        yield f"{key} {seen[key]}", step


def _steps(parent: Element) -> Keyed[_Numbered]:
    return Keyed(parent, lambda step: step[0], _Step)


class _Step:
    """One step and those below it; its own card is built anew only where it changed, so that open details stay open."""

    def __init__(self, step: _Numbered) -> None:
        self.root = box("li")
        with self.root:
            self._card = box("div")
            self._below = _steps(box("ul"))
        self._own: StepView | None = None
        self.show(step)

    def show(self, step: _Numbered) -> None:
        own = replace(step[1], children=())
        if own != self._own:
            self._own = own
            self._card.clear()
            with self._card:
                _card(own)
        self._below.show(_numbered(step[1].children))


def _card(view: StepView) -> None:
    with box("div", f"step{' subject' if view.subject else ''}{' awaited' if view.awaited else ''}"):
        with box("div", "head"):
            text("span", view.kind, "kind")
            if view.hop:
                text("span", view.hop, "hop", title="since the step above")
            text("span", view.at, "note")
        if view.trace:
            link(view.id, view.trace, "id")
        else:
            text("span", view.id, "id")
        text("p", view.text, "told")
        _facts(view)
        _frames(view)


def _facts(view: StepView) -> None:
    if not view.facts:
        return
    with box("details"):
        text("summary", "details")
        with box("dl", "facts"):
            for name, value in view.facts:
                text("dt", name)
                text("dd", value)


def _frames(view: StepView) -> None:
    if not view.frames:
        return
    with box("details"):
        text("summary", "its frames")
        with box("ul"):
            for frame in view.frames:
                with box("li"):
                    text("span", f"{frame.at} ", "note")
                    link(frame.id, frame.trace, "id")
            if view.more_frames:
                text("li", f"… {view.more_frames:,} more", "note")
