"""An HTTP server that does not wait for ever for a request's headers: uvicorn waits as long as the connection is open."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEADERS_S = 10.0
"""Seconds that a client has to send a request's headers, from the connection or from the first byte after an answer."""


class PatientHTTP(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP/1.1 protocol, to be given as its ``http``."""

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._has_a_request() or self.transport.get_protocol() is not self:  # the second: it became a socket
            self._be_calm()
        elif self._waits is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_calm()
        super().connection_lost(exc)

    def _has_a_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._waits = self.loop.call_later(HEADERS_S, self._give_up)

    def _be_calm(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def _give_up(self) -> None:
        self._waits = None
        if not self.transport.is_closing():
            self.transport.close()
