"""The model server as the inference service sees it: one HTTP call a use case and request's worth of rows."""

from collections.abc import Mapping
from math import nan
from typing import Any

import httpx
import msgspec

from mliot.errors import Transient
from mliot.services import SLOW_S
from streaming.runtime.effects import Champion, Champions, NotScored, Score, Scored, Scores

_BUSY = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})


class _Row(msgspec.Struct):
    value: float | None
    probability: float | None = None
    low: float | None = None
    high: float | None = None


class _Body(msgspec.Struct):
    model_version: str
    predictions: list[_Row]


class _Model(msgspec.Struct):
    use_case: str
    alias: str
    model_version: str | None
    features: str
    columns: tuple[str, ...]
    waits_for: str
    expected: bool


class ModelClient:
    """Scores rows at the prediction endpoint. ``transport`` replaces the network in tests."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None, timeout_s: float = 5.0) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, transport=transport, timeout=timeout_s)
        self._scores = msgspec.json.Decoder(_Body)
        self._models = msgspec.json.Decoder(list[_Model])

    def __enter__(self) -> "ModelClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def champions(self, _: Champions) -> Mapping[str, Champion | NotScored]:
        """Each use case's champion, or why it has none. Raises :class:`Transient` while the server is away or busy."""
        response = self._asked("GET", "/models")
        if response.is_error:
            raise Transient(self._away(f"HTTP {response.status_code}: {response.text[:200]}"))
        return {model.use_case: _champion(model) for model in self._read(self._models, response) if model.alias == "champion"}

    def score(self, effect: Score) -> Scores | NotScored:
        """The champion's answers, in order, or why it gives none: what the server says of the request is no fault of the server's.

        Raises :class:`Transient` while the server is away or busy.
        """
        response = self._asked("POST", "/predict", msgspec.json.encode({"use_case": effect.use_case, "rows": effect.rows}))
        if response.is_success:
            body = self._read(self._scores, response)
            return Scores(
                body.model_version, [Scored(nan if p.value is None else p.value, p.probability, p.low, p.high) for p in body.predictions]
            )
        error, field = _problem(response)
        about_the_request = field or (response.is_client_error and response.status_code not in _BUSY)
        if not about_the_request:
            raise Transient(self._away(f"HTTP {response.status_code}: {response.text[:200]}"))
        return NotScored(f"HTTP {response.status_code}: {error}")

    def absent(self) -> str:
        """Why rows would not be scored now; empty where they would. A server that hangs is given :data:`mliot.services.SLOW_S`."""
        try:
            answered = self._http.get("/readyz", timeout=SLOW_S)
        except httpx.TransportError as error:
            return self._away(f"{type(error).__name__}: {error}")
        return "" if answered.is_success else self._away(f"HTTP {answered.status_code}")

    def _asked(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        try:
            return self._http.request(method, path, content=content, headers={"content-type": "application/json"} if content else None)
        except httpx.TransportError as error:
            raise Transient(self._away(f"{type(error).__name__}: {error}")) from error

    def _read(self, decoder: msgspec.json.Decoder[Any], response: httpx.Response) -> Any:
        try:
            return decoder.decode(response.content)
        except msgspec.DecodeError as error:
            path = response.request.url.path
            raise Transient(self._away(f"{path} answers something else than this version of MLIoT reads: {error}")) from error

    def _away(self, why: str) -> str:
        return f"model server at {self._url}: {why}"


def _champion(model: _Model) -> Champion | NotScored:
    if model.model_version is None:
        return NotScored(model.waits_for, expected=model.expected)
    return Champion(model.model_version, model.features, model.columns)


def _problem(response: httpx.Response) -> tuple[str, str]:
    """What the server says is wrong, and with which part of the request ('' where it names none)."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return response.text[:500], ""
    return str(body.get("error", ""))[:500], str(body.get("field") or "")
