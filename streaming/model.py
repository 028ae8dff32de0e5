"""The model server as the inference service sees it: one HTTP call a use case and batch."""

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from mliot.errors import Fatal, Transient
from mliot.services import SLOW_S
from streaming.ports import Score, Scored, Scores


class _Row(msgspec.Struct):
    value: float
    probability: float | None = None
    low: float | None = None
    high: float | None = None


class _Body(msgspec.Struct):
    model_version: str
    feature_version: str
    predictions: list[_Row]


class ModelClient:
    """Scores rows at the prediction endpoint. ``transport`` replaces the network in tests."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None, timeout_s: float = 5.0) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, transport=transport, timeout=timeout_s)
        self._decoder = msgspec.json.Decoder(_Body)

    def __enter__(self) -> "ModelClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def score(self, effect: Score) -> Scores | None:
        """The champion's answers, in order; None where there is no champion yet.

        Raises :class:`Transient` while the server is away or busy, :class:`Fatal` where it refuses what was asked.
        """
        try:
            response = self._http.post(
                "/predict",
                content=msgspec.json.encode({"use_case": effect.use_case, "rows": effect.rows}),
                headers={"content-type": "application/json"},
            )
        except httpx.TransportError as error:
            raise Transient(self._away(f"{type(error).__name__}: {error}")) from error
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and no_champion(response):
            return None
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise Transient(self._away(f"HTTP {response.status_code}: {response.text[:200]}"))
        if response.is_error:
            raise Fatal(
                f"model server at {self._url} refused rows of {effect.use_case}: HTTP {response.status_code}: {response.text[:500]}"
            )
        body = self._decoder.decode(response.content)
        return Scores(body.model_version, body.feature_version, [Scored(p.value, p.probability, p.low, p.high) for p in body.predictions])

    def absent(self) -> str:
        """Why rows would not be scored now; empty where they would. A server that hangs is given :data:`mliot.services.SLOW_S`."""
        try:
            answered = self._http.get("/readyz", timeout=SLOW_S)
        except httpx.TransportError as error:
            return self._away(f"{type(error).__name__}: {error}")
        return "" if answered.is_success else self._away(f"HTTP {answered.status_code}")

    def _away(self, why: str) -> str:
        return f"model server at {self._url}: {why}"


def no_champion(response: httpx.Response) -> bool:
    """True where a 503 says that the use case has no champion, rather than that the server is not ready."""
    try:
        body: Mapping[str, Any] = response.json()
    except ValueError:
        return False
    return "no champion" in str(body.get("error", ""))
