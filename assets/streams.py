"""The running services as external assets: Dagster does not run them, it sees what they say of themselves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import httpx

from assets import keys
from mliot.messages import Ack, Command, DeadLetter, Feature, Frame, Label, Message, Prediction, Window
from mliot.services import metrics_port
from mliot.settings import HOST, Settings
from mliot.usecase import UseCase

PRODUCERS: Mapping[str, Sequence[type[Message]]] = {
    "bridge": (Frame, Ack, DeadLetter),
    "features": (Window, Feature, Label),
    "inference": (Prediction,),
    "commands": (Command,),
}
"""Which service fills which topics (dead letters come from every service; the bridge's are the most telling)."""
ANSWER_S = 3.0


def stream_assets(use_cases: Sequence[UseCase]) -> list[dg.AssetSpec]:
    """A topic an asset, in the data's order, then the store. Champions stand between features and predictions."""
    champions = [keys.champion(use_case.name) for use_case in use_cases]
    upstream: Mapping[type[Message], Sequence[dg.AssetKey]] = {
        Window: [_key(Frame)],
        Feature: [_key(Window)],
        Label: [_key(Window)],
        Prediction: [_key(Feature), *champions],
        Command: [_key(Prediction)],
        Ack: [_key(Command)],
        DeadLetter: [],
        Frame: [],
    }
    topics = [
        dg.AssetSpec(
            _key(message),
            deps=upstream[message],
            group_name=keys.STREAMS,
            kinds={"kafka", "python"},
            description=f"Kafka topic {message.topic_name}, filled by the service {service}. {_about(message)}",
            metadata={"service": service},
        )
        for service, messages in PRODUCERS.items()
        for message in messages
    ]
    store = dg.AssetSpec(
        keys.STORE,
        deps=[topic.key for topic in topics],
        group_name=keys.STREAMS,
        kinds={"postgres"},
        description="PostgreSQL: one table a topic, one row an id, filled by the service store.",
        metadata={"service": "store"},
    )
    return [*topics, store]


def observe_services(settings: Settings) -> tuple[list[dg.AssetObservation], list[str]]:
    """What each service says of itself, on the assets that it fills; and the services that do not answer."""
    observed: list[dg.AssetObservation] = []
    away: list[str] = []
    with httpx.Client(timeout=ANSWER_S) as client:
        for service in (*PRODUCERS, "store"):
            try:
                health = client.get(f"http://{HOST}:{metrics_port(settings, service)}/health").raise_for_status().json()
            except (httpx.HTTPError, ValueError):
                away.append(service)
                continue
            observed.extend(observations(service, health))
    return observed, away


def observations(service: str, health: Mapping[str, Any]) -> Iterator[dg.AssetObservation]:
    """One observation an asset that ``service`` fills. Pure."""
    metadata: dict[str, Any] = {
        "service": service,
        "state": str(health["state"]),
        "lag": "unknown" if health["lag"] is None else int(health["lag"]),
        "rate_per_s": float(health["rate_per_s"]),
        "last_error": str(health["last_error"]) or "none",
        "since": dg.MetadataValue.timestamp(health["since_ms"] / 1000),
        "counts": dg.MetadataValue.json(dict(health["counts"])),
    }
    for asset in [keys.STORE] if service == "store" else [_key(message) for message in PRODUCERS[service]]:
        yield dg.AssetObservation(asset, metadata=metadata)


def _key(message: type[Message]) -> dg.AssetKey:
    return keys.stream(message.topic_name)


def _about(message: type[Message]) -> str:
    return (message.__doc__ or "").partition("\n")[0]
