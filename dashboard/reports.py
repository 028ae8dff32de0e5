"""The kept drift reports over HTTP: read-only, and only those that are listed."""

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from learning.monitoring.reports import URL_PATH, Reports

# A report is a page with scripts of its own: it gets an origin of its own too, from which nothing of the dashboard can be reached.
HEADERS = {"Content-Security-Policy": "sandbox allow-scripts allow-downloads allow-popups", "X-Content-Type-Options": "nosniff"}


def add_report_route(app: FastAPI, reports: Reports) -> None:
    """Serves each of ``reports`` at its :attr:`learning.monitoring.reports.Report.url_path`; any other name is not found."""

    @app.api_route(f"{URL_PATH}/{{use_case}}/{{name}}", methods=["GET", "HEAD"], include_in_schema=False)
    def report(use_case: str, name: str) -> FileResponse:
        path = reports.path(use_case, name)
        if path is None:
            raise HTTPException(404, f"no such report; {URL_PATH} lists those that are kept")
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=HEADERS)
