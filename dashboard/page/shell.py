"""What all pages have in common: stylesheet, theme, clock, header with the ways out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from dashboard.page.elements import ThemeSwitch, box, link, text
from learning.monitoring.reports import URL_PATH
from mliot.settings import Settings

_HERE = Path(__file__).parent
TITLE = "MLIoT"
SEARCH_PATH = "/search"
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b57d0"/>'
    '<path d="M5 18h5l3-9 5 15 4-9h5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def add_shared_head() -> None:
    """Adds stylesheet and theme to every page, once a process."""
    style = (_HERE / "style.css").read_text("utf-8")
    script = (_HERE / "head.js").read_text("utf-8")
    ui.add_head_html(f"<style>{style}</style><script>{script}</script>", shared=True)


@contextmanager
def shell(settings: Settings, now_ms: int) -> Iterator[TextElement]:
    """The page's frame; its content goes into the block. Yields the status in the header."""
    # ages are counted on the server's clock, whatever the viewer's says
    ui.add_head_html(f"<script>window.mliotSkewMs = {int(now_ms)} - Date.now();</script>")
    with box("header", "top"):
        link(TITLE, "/", "brand", aria_label="MLIoT, overview")
        status = text("span", "", "status", role="status")
        with box("form", "search", action=SEARCH_PATH, method="get", role="search"):
            box("input", name="name", type="search", placeholder="Device or place", aria_label="Find a device or a place")
        with box("nav", aria_label="Other pages"):
            link("Reports", URL_PATH)
            link("Dagster", settings.dagster_address, target="_blank", rel="noopener")
            link("Endpoint", settings.endpoint_address, target="_blank", rel="noopener")
            ThemeSwitch()
    with box("div", "page"):
        yield status
