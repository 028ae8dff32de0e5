"""``python -m serving``: the prediction endpoint on ``MLIOT_ENDPOINT_PORT``."""

import logging
import os
import socket
import sys

import structlog

from mliot import logs
from mliot.errors import PortTaken, UserError
from mliot.settings import HOST, Settings


def main() -> int:
    """Serve until told to stop; returns the exit code. A person's error is one line on standard error."""
    try:
        settings = Settings.read()
        with listener(settings.endpoint_port) as listening:
            serve(settings, listening)
    except UserError as error:
        print(f"serving: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def listener(port: int) -> socket.socket:
    """A socket bound to ``port`` of the loopback address. Raises :class:`PortTaken` that names the setting."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise PortTaken(f"port {port} of {HOST} cannot be used ({error.strerror}); MLIOT_ENDPOINT_PORT moves the endpoint") from error
    return listening


def serve(settings: Settings, listening: socket.socket) -> None:
    """Answer on ``listening`` with one process until a signal ends it; requests under way are answered first."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before any library reads them
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    import uvicorn

    from mliot.web.guard import Guard
    from mliot.web.patience import PatientHTTP
    from serving.service import build

    logs.configure(settings, "endpoint")
    logging.basicConfig(level=logging.WARNING, handlers=[LibraryLog()], force=True)
    app = Guard(build(settings), settings.host_names)
    structlog.get_logger().info("listening", port=settings.endpoint_port)
    config = uvicorn.Config(app, http=PatientHTTP, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=10)
    uvicorn.Server(config).run(sockets=[listening])


class LibraryLog(logging.Handler):
    """Passes what BentoML, uvicorn and others log on to MLIoT's log."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


if __name__ == "__main__":
    sys.exit(main())
