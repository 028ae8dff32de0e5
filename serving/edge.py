"""The outermost layer of the endpoint: refuses what is no JSON request, words every error alike, counts every answer."""

from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING

from serving.counters import Counters
from serving.problems import Refused, reworded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 32 * 1024 * 1024
ROUTES = ("/predict", "/predict_entity", "/models", "/metrics", "/livez", "/readyz", "/healthz", "/docs.json", "/")


class Edge:
    """ASGI middleware."""

    def __init__(self, app: "ASGIApp", counters: Counters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        answer = _Answer(scope, receive, send)
        try:
            refused = unusable(scope["method"], dict(scope["headers"]))
            if refused is None:
                await self._app(scope, receive, answer.send)
            else:
                await refused.response()(scope, receive, answer.send)
        finally:
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self._counters.answered(route, answer.status, perf_counter() - began)


def unusable(method: str, headers: dict[bytes, bytes]) -> Refused | None:
    """Why a request with these headers is refused before its body is read, or None."""
    if method != "POST":
        return None
    kind = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if kind != b"application/json":
        return Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {kind.decode('latin-1')!r}; allowed is application/json")
    length = headers.get(b"content-length", b"")
    if not length.isdigit():
        return Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing; the body's length must be known")
    if int(length) > MOST_BYTES:
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has {int(length):,} bytes; allowed are {MOST_BYTES:,}")
    return None


class _Answer:
    """Passes an answer on as it comes; one that is an error is held back until it is whole, then sent reworded."""

    def __init__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._held = b""
        self.status: int = HTTPStatus.INTERNAL_SERVER_ERROR

    async def send(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.status < HTTPStatus.BAD_REQUEST:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._held += message.get("body", b"")
            if not message.get("more_body", False):
                problem = reworded(self.status, self._held)
                self.status = problem.status
                await problem.response()(self._scope, self._receive, self._send)
