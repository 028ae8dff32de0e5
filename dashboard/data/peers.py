"""The other processes of the stack, asked over HTTP: each service's health, the endpoint's models, Dagster."""

import asyncio
from typing import Any, TypeVar

import httpx
import msgspec

from dashboard.data.rows import NO_ANSWER, Health, Model
from mliot.services import SERVICES, metrics_port
from mliot.settings import HOST, Settings

ANSWER_S = 2.0
T = TypeVar("T")


class Peers:
    """Asks; a peer that is away, slow or talks nonsense is an answer too, never an exception."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=ANSWER_S, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def services(self) -> tuple[Health, ...]:
        """Every service's health, in the data's order."""
        return tuple(await asyncio.gather(*(self._health(service) for service in SERVICES)))

    async def models(self) -> tuple[Model, ...] | None:
        """The models that the endpoint answers with now; None where it does not answer."""
        return await self._get(f"{self._settings.endpoint_address}/models", tuple[Model, ...])

    async def dagster_answers(self) -> bool:
        return await self._get(f"{self._settings.dagster_address}/server_info", dict[str, Any]) is not None

    async def _health(self, service: str) -> Health:
        found = await self._get(f"http://{HOST}:{metrics_port(self._settings, service)}/health", Health)
        return found if found is not None and found.service == service else Health(service, NO_ANSWER)

    async def _get(self, url: str, kind: type[T]) -> T | None:
        try:
            response = await self._client.get(url)
            response.raise_for_status()
            return msgspec.json.decode(response.content, type=kind)
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
