"""``python -m dashboard``: the operators' page on ``MLIOT_DASHBOARD_PORT``."""

import socket
import sys

from mliot.errors import PortTaken, UserError
from mliot.logs import configure
from mliot.settings import HOST, Settings


def main() -> int:
    """Serve until told to stop; returns the exit code. A person's error is one line on standard error."""
    try:
        settings = Settings.read()
        configure(settings, service="dashboard")
        require_free(settings.dashboard_port)
        from dashboard.app import Dashboard  # imported here: NiceGUI takes a second, and a wrong setting is told before

        Dashboard(settings).serve()
    except UserError as error:
        print(f"dashboard: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:  # the server has ended already, and passes the signal on
        return 130
    return 0


def require_free(port: int) -> None:
    """Raises :class:`PortTaken` that names the setting where ``port`` of the loopback address cannot be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(f"port {port} of {HOST} cannot be used ({error.strerror}); MLIOT_DASHBOARD_PORT moves the dashboard") from error


if __name__ == "__main__":
    sys.exit(main())
