"""The outermost layer of the endpoint: refuses what is no JSON request, lets what is right go the short way, words every error alike and
counts every answer.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING

from learning.answers import MAX_BYTES
from serving import fast_path as direct
from serving.counters import Counters
from serving.endpoint import Endpoint
from serving.problems import Refused, reworded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_S = 60.0
"""A request that takes longer is given up."""
PREDICT = "/predict"
ROUTES = (PREDICT, "/predict_entity", "/models", "/health", "/metrics", "/livez", "/readyz", "/healthz", "/docs.json", "/")


class Edge:
    """ASGI middleware."""

    def __init__(self, app: "ASGIApp", counters: Counters, endpoint: Endpoint) -> None:
        self._app = app
        self._counters = counters
        self._endpoint = endpoint

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        answer = _Answer(scope, receive, send)
        try:
            refused = unusable(scope["method"], dict(scope["headers"]))
            if refused is not None:
                await refused.response()(scope, receive, answer.send)
            elif scope["method"] == "POST" and scope["path"] == PREDICT:
                await self._predict(scope, receive, answer)
            else:
                await self._long_way(scope, receive, answer)
        finally:
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self._counters.answered(route, answer.status, perf_counter() - began)

    async def _predict(self, scope: "Scope", receive: "Receive", to: "_Answer") -> None:
        """The short way, or where that has no answer, the long one with the same messages."""
        messages = await _received(receive)
        whole = messages[-1]["type"] == "http.request"
        answer = await direct.answered(self._endpoint, b"".join(part.get("body", b"") for part in messages)) if whole else None
        if answer is None:
            await self._long_way(scope, _again(messages, receive), to)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await to.send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await to.send({"type": "http.response.body", "body": answer})

    async def _long_way(self, scope: "Scope", receive: "Receive", to: "_Answer") -> None:
        try:
            async with asyncio.timeout(MAX_S):
                await self._app(scope, receive, to.send)
        except TimeoutError:
            if to.begun:
                raise
            await Refused(HTTPStatus.GATEWAY_TIMEOUT, f"the request was not answered within {MAX_S:g} s").response()(
                scope, receive, to.send
            )


async def _received(receive: "Receive") -> "Sequence[Message]":
    """A request's messages up to the end of its body, or up to where the client left."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(messages: "Sequence[Message]", receive: "Receive") -> "Receive":
    """Receives ``messages`` once more, then what comes."""
    left = iter(messages)

    async def next_one() -> "Message":
        message = next(left, None)
        return await receive() if message is None else message

    return next_one


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
    if int(length) > MAX_BYTES:
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has {int(length):,} bytes; allowed are {MAX_BYTES:,}")
    return None


class _Answer:
    """Passes an answer on as it comes; one that is an error is held back until it is whole, then sent reworded."""

    def __init__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._held = b""
        self.status: int = HTTPStatus.INTERNAL_SERVER_ERROR
        self.begun = False

    async def send(self, message: "Message") -> None:
        self.begun = True
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
