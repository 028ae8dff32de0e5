"""``python -m mliot_dagster.web``: Dagster's web server on ``MLIOT_DAGSTER_PORT``, closed to other sites' pages.

Dagster's own command takes any ``Host``, any ``Origin``, and mutations by GET, which an image in any page could send.
"""

import sys
from http import HTTPStatus
from urllib.parse import parse_qs

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
from dagster_webserver.version import __version__

from mliot.errors import UserError
from mliot.settings import HOST, Settings
from mliot.web.guard import Asked, Guard, Refusal
from mliot.web.patience import PatientHTTP
from stack.dagster import workspace_path

PAGE_POLLS_MS = 2000
"""How often a page asks for what is new, as by Dagster's own command."""


def in_address(asked: Asked) -> Refusal | None:
    """Why a GraphQL document in an address is refused: Dagster would run it, mutations too, asked by GET or by a form's POST. Pure."""
    if asked.path.rstrip("/").endswith("/graphql") and "query" in parse_qs(asked.query, keep_blank_values=True):
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "a GraphQL document is taken in the body of a POST only")
    return None


def main() -> int:
    """Serves until a signal ends it; returns the exit code. A person's error is one line on standard error."""
    try:
        settings = Settings.read()
    except UserError as error:
        print(f"dagster-web: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    configure_loggers(log_level="INFO")
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget(paths=[str(workspace_path(settings))])
        with WorkspaceProcessContext(instance, workspace_load_target=target, version=__version__) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=PAGE_POLLS_MS)
            guarded = Guard(app, settings.host_names, [in_address])
            uvicorn.run(guarded, host=HOST, port=settings.dagster_port, log_level="warning", http=PatientHTTP)
    return 0


if __name__ == "__main__":
    sys.exit(main())
