"""The trace page: the chain as a tree, a step a card, with the time between the steps."""

from dashboard.page.elements import box, link, text
from dashboard.view.chain import StepView


def chain_page(id: str, root: StepView, as_of: str, original: tuple[str, str] | None) -> None:
    """The chain around ``id``; of a dead letter also its ``original`` bytes."""
    with box("div", "asked"):
        text("h2", f"Trace of {id}")
        with box("p", "note"):
            text("span", f"as of {as_of} UTC; ")
            link("read again", "")
    with box("ul", "chain"):
        _step(root)
    if original:
        shown, size = original
        with box("section", "card original"):
            text("h2", "Original record")
            text("p", size, "note")
            text("pre", shown)


def message_page(id: str, message: str) -> None:
    """Instead of a chain: why there is none."""
    with box("div", "asked"):
        text("h2", f"Trace of {id}")
        link("read again", "")
    text("p", message, "empty")


def _step(view: StepView) -> None:
    with box("li"):
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
        if view.children:
            with box("ul"):
                for child in view.children:
                    _step(child)


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
