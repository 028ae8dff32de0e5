# mypy: disable-error-code="untyped-decorator"
# (BentoML's decorators are unknown to the type checker)
"""The BentoML service: its typed routes, its middleware and its pages, around one :class:`Endpoint`."""

import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

import bentoml
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from bentoml.exceptions import BentoMLException
from pydantic import ValidationError
from starlette.responses import JSONResponse

from learning.store import Alias, ModelStore
from mliot.clock import SystemClock
from mliot.settings import Settings
from serving.counters import Counters
from serving.endpoint import Endpoint
from serving.entity import FeatureReader
from serving.live import LiveModels
from serving.middleware import Edge
from serving.pages import pages
from serving.problems import Refused
from serving.schema import PredictEntityRequest, PredictEntityResponse, PredictRequest, PredictResponse, Row
from usecases import load_use_cases
from warehouse.dbt import known_columns

T = TypeVar("T")
OFF = {"enabled": False}
"""BentoML's own log, metrics and monitoring halve the rate; :mod:`serving.middleware` counts instead."""


def build(settings: Settings) -> Edge:
    """The service as the settings have it, as an ASGI application; nothing is loaded or connected before it starts.

    No request leaves a timer behind: with 3,000 of them a second, kept for a minute, the cyclic collector, which looks through all that
    lives, stopped every answer for a quarter of a second.
    """
    use_cases = load_use_cases(settings.usecases)
    clock = SystemClock()
    store = ModelStore(settings.models_path, clock)
    live = LiveModels(store, clock)
    features = FeatureReader(settings.postgres_address)
    counters = Counters(live)
    endpoint = Endpoint(store, live, features, use_cases, counters=counters, clock=clock)

    @bentoml.service(name="mliot", workers=1, logging={"access": OFF}, metrics=OFF, monitoring=OFF, tracing={"excluded_urls": ".*"})
    class Predictions:
        @bentoml.on_startup
        def start(self) -> None:
            live.start()

        @bentoml.on_shutdown
        async def stop(self) -> None:
            live.stop()
            await features.close()

        @bentoml.api(input_spec=PredictRequest, output_spec=PredictResponse)
        async def predict(self, use_case: str, rows: list[Row], alias: Alias) -> PredictResponse | JSONResponse:
            """Score feature rows: one row or many, in order, all by one version of the use case's model."""
            return await _answered(endpoint.predict(use_case, rows, alias))

        @bentoml.api(input_spec=PredictEntityRequest, output_spec=PredictEntityResponse)
        async def predict_entity(self, use_case: str, place_id: str, alias: Alias) -> PredictEntityResponse | JSONResponse:
            """Score the newest features of a place, and say how old they are."""
            return await _answered(endpoint.predict_entity(use_case, place_id, alias))

    service: bentoml.Service[Any] = Predictions
    service.mount_asgi_app(pages(endpoint, counters, use_cases, known_columns(settings)))
    logging.getLogger("bentoml._internal.server.http_app").addFilter(_is_no_refusal)
    return Edge(_without_timers(service.to_asgi()), counters, endpoint)


def _without_timers(app: Any) -> Any:
    """BentoML's app without its timeout, which leaves a timer behind every request for a minute; :mod:`serving.middleware` ends
    what takes too long."""
    app.user_middleware = [each for each in app.user_middleware if each.cls is not TimeoutMiddleware]
    return app


async def _answered(work: Awaitable[T]) -> T | JSONResponse:
    try:
        return await work
    except Refused as refused:
        return refused.response()


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """False for BentoML's traceback of a request that was answered with 4xx: the caller has been told, and it is counted."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, ValidationError) or (isinstance(error, BentoMLException) and error.error_code < 500))
