"""The HTTP server behind /health and /metrics: a thread a connection, none of which can hold up another one or the stop.

It is prometheus-client's own, with bounds: a connection has :data:`MAX_REQUEST_S` in all, however slowly its client sends or reads, and of
more than :data:`MAX_CONNECTIONS` the oldest is ended. So whoever asks is answered, also beside clients that say nothing.
"""

import sys
import threading
from contextlib import suppress
from socket import SHUT_RDWR, socket
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer

from mliot.clock import SystemClock

MAX_CONNECTIONS = 64
MAX_REQUEST_S = 5.0


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Health checks come every few seconds: not a log line each."""


class BoundedServer(ThreadingWSGIServer):
    """A threading server whose connections are bounded in number and time."""

    request_queue_size = 2 * MAX_CONNECTIONS

    def __init__(self, *positional: Any, **named: Any) -> None:
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self._open: dict[socket, float] = {}
        super().__init__(*positional, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = self._clock.monotonic() + MAX_REQUEST_S
            surplus = list(self._open)[:-MAX_CONNECTIONS]
        self._end(surplus)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called between two connections, and at least twice a second."""
        now = self._clock.monotonic()
        with self._lock:
            late = [request for request, until in self._open.items() if until < now]
        self._end(late)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            left = list(self._open)
        self._end(left)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends in the middle is its client's affair, or was ended here; anything else is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _end(self, requests: list[socket]) -> None:
        """Ends connections; their threads notice and close them."""
        for request in requests:
            with suppress(OSError):  # it has ended by itself meanwhile
                request.shutdown(SHUT_RDWR)
