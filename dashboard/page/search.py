"""The page of what was searched for: devices with their places, newest first, each leading to its newest frame."""

from collections.abc import Sequence

from dashboard.data.searching import MAX_FOUND, Found
from dashboard.page.elements import Age, box, link, text
from dashboard.view.wording import Stamp, trace_path


def search_page(name: str, found: Sequence[Found] | str) -> None:
    """What was found for ``name``, or why nothing could be looked for."""
    with box("div", "asked"):
        text("h2", f"Devices and places with {name!a} in their name" if name else "All devices")
        text("p", f"at most the {MAX_FOUND} that were heard of last", "note")
    if isinstance(found, str) or not found:
        text("p", found if isinstance(found, str) else "No device or place has such a name.", "empty")
        return
    with box("section", "card"), box("ol", "list"):
        for one in found:
            with box("li", "origin"):
                link(f"{one.place_id} · {one.device}", trace_path(one.frame_id), "name")
                Age(Stamp(one.event_ms))
