"""What the endpoint counts about itself, for ``/metrics``."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from serving.live import LiveModel, LiveModels


class Counters:
    """Counters, a latency histogram and the models in charge, in a registry of their own."""

    def __init__(self, live: LiveModels) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_InCharge(live))
        self._requests = Histogram(
            "mliot_endpoint_request_seconds",
            "Seconds from a request's arrival to the end of its answer.",
            ("route", "status"),
            registry=self._registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        )
        self._rows = Counter("mliot_endpoint_rows", "Rows scored.", ("use_case", "alias", "model_version"), registry=self._registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).observe(seconds)

    def scored(self, use_case: str, model: LiveModel, rows: int) -> None:
        self._rows.labels(use_case, model.alias, model.version).inc(rows)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _InCharge(Collector):
    def __init__(self, live: LiveModels) -> None:
        self._live = live

    def collect(self) -> Iterator[GaugeMetricFamily]:
        since = GaugeMetricFamily(
            "mliot_endpoint_model_since_seconds",
            "When the alias moved to this version, seconds since 1970-01-01 UTC.",
            labels=("use_case", "alias", "model_version"),
        )
        for model in self._live.all():
            since.add_metric((model.card.use_case, model.alias, model.version), model.since_ms / 1000)
        yield since
