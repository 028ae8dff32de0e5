"""The drift reports that are kept, as lists of links. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.view.wording import Stamp, use_case_title
from learning.monitoring.reports import Report
from mliot.clock import clock_time
from mliot.usecase import UseCase

NO_REPORTS = "No drift report yet. Dagster makes one with every refresh and every hour once a model is in charge."


@dataclass(frozen=True)
class ReportView:
    """One report: when it was made, in words and as an age, and where it is."""

    made: str
    stamp: Stamp
    href: str


@dataclass(frozen=True)
class ReportsView:
    """One use case's reports, newest first."""

    title: str
    reports: tuple[ReportView, ...]


def reports_views(kept: Mapping[str, Sequence[Report]], use_cases: Mapping[str, UseCase]) -> tuple[ReportsView, ...]:
    """The reports of each use case that has any, one that is no longer declared too."""
    return tuple(ReportsView(use_case_title(use_cases, name), tuple(map(report_view, reports))) for name, reports in kept.items())


def report_view(report: Report) -> ReportView:
    return ReportView(f"{clock_time(report.made_ms)[:19]} UTC", Stamp(report.made_ms), report.url_path)
