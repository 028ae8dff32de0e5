"""The page of the kept drift reports."""

from collections.abc import Sequence

from dashboard.page.elements import Age, box, link, text
from dashboard.view.reports import NO_REPORTS, ReportsView


def reports_page(views: Sequence[ReportsView]) -> None:
    """A list a use case, newest first."""
    with box("div", "asked"):
        text("h2", "Drift reports")
        text("p", "what each model is fed now, beside what it was trained on", "note")
    if not views:
        text("p", NO_REPORTS, "empty")
    with box("div", "grid"):
        for view in views:
            with box("section", "card"):
                text("h2", view.title)
                with box("ol", "list"):
                    for report in view.reports:
                        with box("li", "origin"):
                            link(report.made, report.href)
                            Age(report.stamp)
