"""The drift reports that are kept: where each lies, what it is called, and which there are. One is an HTML page of about 4 MB.

{reports_path}/{use_case}/drift-{date}-{time}.html      the time in UTC, so that names sort by it
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

KEPT = 24
"""Newest reports that are kept of each use case."""
URL_PATH = "/reports"
"""Where the dashboard lists them."""
_NAME = re.compile(r"drift-(\d{8}-\d{6})\.html")
_TIME = "%Y%m%d-%H%M%S"


@dataclass(frozen=True)
class Report:
    """One kept report; ``made_ms`` is in milliseconds since 1970-01-01 UTC, to the second."""

    use_case: str
    name: str
    made_ms: int

    @property
    def url_path(self) -> str:
        """Where the dashboard serves it."""
        return f"{URL_PATH}/{quote(self.use_case, safe='')}/{quote(self.name, safe='')}"


class Reports:
    """The reports in one folder. One process writes, any number may read at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, use_case: str, at_ms: int) -> tuple[Report, Path]:
        """A report made at ``at_ms``, and the file that is to be written for it."""
        name = f"drift-{datetime.fromtimestamp(at_ms // 1000, UTC).strftime(_TIME)}.html"
        return Report(use_case, name, at_ms // 1000 * 1000), self._folder.resolve() / use_case / name

    def kept(self) -> dict[str, list[Report]]:
        """The reports of each use case that has any, newest first."""
        found: dict[str, list[Report]] = {}
        for path in self._folder.glob("*/drift-*.html"):
            made_ms = _made_ms(path.name)
            if made_ms is not None and path.is_file():
                found.setdefault(path.parent.name, []).append(Report(path.parent.name, path.name, made_ms))
        return {use_case: sorted(found[use_case], key=lambda report: report.name, reverse=True) for use_case in sorted(found)}

    def path(self, use_case: str, name: str) -> Path | None:
        """The file of one of the :meth:`kept` reports; None for any other name, whatever lies there."""
        known = any(report.name == name for report in self.kept().get(use_case, ()))
        return self._folder.resolve() / use_case / name if known else None

    def drop_old(self, use_case: str, kept: int = KEPT) -> None:
        """Deletes all but the newest ``kept`` reports of a use case."""
        for report in self.kept().get(use_case, [])[kept:]:
            (self._folder / use_case / report.name).unlink()


def _made_ms(name: str) -> int | None:
    """When the report of that file's name was made; None where it is no report's name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return int(datetime.strptime(match[1], _TIME).replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None
