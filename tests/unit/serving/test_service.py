"""The service as it is put together: what a request leaves behind."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from learning.store import ModelStore
from mliot.settings import Settings
from mliot.usecase import UseCase
from serving.middleware import Edge
from serving.service import build
from usecases import load_use_cases

FAN = load_use_cases()["fan_speed"]
BODY = json.dumps({"use_case": "fan_speed", "rows": [dict.fromkeys(FAN.columns, 1.5)]}).encode()


RIGHT = ("/predict", BODY, 200)
WRONG = ("/predict", BODY.replace(b"1.5", b'"1.5"', 1), 422)
ENTITY = ("/predict_entity", b'{"use_case": "fan_speed", "place_id": "water-1"}', 422)
REQUESTS = 300
"""Enough for the event loop to clear away the timers that were cancelled, which it does once they are a hundred."""


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince211")  # BentoML's own models
@pytest.mark.parametrize(("path", "body", "status"), [RIGHT, WRONG, ENTITY], ids=["right", "wrong", "entity"])
def test_no_request_leaves_a_timer_behind(
    tmp_path: Path, save_constant_model: Callable[[ModelStore, UseCase, float], str], path: str, body: bytes, status: int
) -> None:
    """BentoML's timeout keeps one a request for a minute: hundreds of thousands of them under load."""
    settings = Settings(_env_file=None, home=tmp_path)
    store = ModelStore(settings.models_path)
    store.move("fan_speed", "champion", save_constant_model(store, FAN, 1.0), who="test", why="test")

    async def asked() -> int:
        app = build(settings)
        async with _started(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://endpoint") as client:
            before = _timers()
            for _ in range(REQUESTS):
                answer = await client.post(path, content=body, headers={"content-type": "application/json"})
                assert answer.status_code == status, answer.text
            await asyncio.sleep(0)  # the event loop's turn: nothing here ever waits for anything
            return _timers() - before

    assert asyncio.run(asked()) < REQUESTS // 2


def _timers() -> int:
    gc.collect()
    return sum(isinstance(each, asyncio.TimerHandle) for each in gc.get_objects())


@asynccontextmanager
async def _started(app: Edge) -> AsyncIterator[None]:
    """The ASGI lifespan protocol (asgi.readthedocs.io, specs/lifespan), as a server speaks it."""
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put))  # type: ignore[arg-type]
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await task
