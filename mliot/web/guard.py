"""Keeps web pages of others away from the local HTTP servers, which know no login.

Any page that a browser on this machine shows can ask them: by an image, a form or a script of its own, by a socket, or under a name of its
own that it has resolved to the loopback address (DNS rebinding). So the ``Host`` must be a name of the server, and who asks from a page
must ask from one of the server itself (``Origin``, RFC 6454, and ``Sec-Fetch-Site``, W3C Fetch Metadata). Clients that are no browsers
send neither of the last two and are answered.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: HTTPStatus
    error: str


@dataclass(frozen=True)
class Asked:
    """What a request says of itself; header names in lower case. A socket's method is GET."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


Rule = Callable[[Asked], Refusal | None]


def foreign(asked: Asked, hosts: Collection[str]) -> Refusal | None:
    """Why ``asked`` may be a foreign page's doing, or None. ``hosts`` are the server's names in lower case, without ports. Pure."""
    host = asked.headers.get("host", "")
    name = _host_name(host)
    if name is None or name not in hosts:
        return Refusal(HTTPStatus.MISDIRECTED_REQUEST, f"Host {host[:100]!a} is no name of this server; MLIOT_HOSTS adds one to localhost")
    origin = asked.headers.get("origin")
    if origin is not None and _authority(origin) != host.lower():
        return Refusal(HTTPStatus.FORBIDDEN, f"Origin {origin[:100]!a} is another site's; only pages of this server may ask")
    site = asked.headers.get("sec-fetch-site", "none")
    if site in ("cross-site", "same-site") and not _follows_a_link(asked):
        return Refusal(HTTPStatus.FORBIDDEN, "another site's page asks; only pages of this server may")
    return None


def _follows_a_link(asked: Asked) -> bool:
    """A person went here from another site, in a window of its own: it shows something, and changes nothing."""
    return (
        asked.method in READING and asked.headers.get("sec-fetch-mode") == "navigate" and asked.headers.get("sec-fetch-dest") == "document"
    )


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def asked_of(environ: Mapping[str, Any]) -> Asked:
    """What a WSGI request says of itself (PEP 3333). Pure."""
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    return Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""), headers)


class Guard:
    """ASGI middleware that answers what is refused, and passes everything else on. ``rules`` are more reasons to refuse."""

    def __init__(self, app: "ASGIApp", hosts: Collection[str] = (), rules: Collection[Rule] = ()) -> None:
        self._app = app
        self._hosts = LOOPBACK.union(hosts)
        self._rules = tuple(rules)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.error})
        else:
            await _answer(refusal, send)

    def _refusal(self, scope: "Scope") -> Refusal | None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            if name in ("host", "origin") and name in headers:
                return Refusal(HTTPStatus.BAD_REQUEST, f"{name} is given twice")
            headers[name] = raw_value.decode("latin-1")
        asked = Asked(scope.get("method", "GET"), scope["path"], scope.get("query_string", b"").decode("latin-1"), headers)
        refusals = (foreign(asked, self._hosts), *(rule(asked) for rule in self._rules))
        return next((refusal for refusal in refusals if refusal is not None), None)


async def _answer(refusal: Refusal, send: "Send") -> None:
    body = msgspec.json.encode({"error": refusal.error, "field": None})
    headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
