"""The services as Dagster sees them."""

from collections.abc import Callable

import dagster as dg

from assets import keys
from assets.streams import PRODUCERS, observations, observe_services, stream_assets
from mliot.messages import MESSAGES
from mliot.services import SERVICES, ServiceStatus, listening
from mliot.settings import Settings
from mliot.usecase import UseCase


def test_every_topic_has_one_service_and_one_asset(use_case: UseCase) -> None:
    produced = [message for messages in PRODUCERS.values() for message in messages]
    assert sorted(produced, key=str) == sorted(MESSAGES, key=str)
    assert PRODUCERS.keys() <= set(SERVICES)
    assert [asset.key for asset in stream_assets([use_case])] == [*(keys.stream(message.topic_name) for message in produced), keys.STORE]


def test_predictions_stand_behind_the_champions(use_case: UseCase) -> None:
    predictions = next(asset for asset in stream_assets([use_case]) if asset.key == keys.stream("stream-prediction"))
    assert [dep.asset_key for dep in predictions.deps] == [keys.stream("stream-feature"), keys.champion("pump")]


def test_an_observation_tells_lag_rate_and_state_for_each_topic_of_the_service() -> None:
    status = ServiceStatus("features")
    status.ok()
    status.lag(7)
    found = list(observations("features", status.snapshot()))
    assert [each.asset_key for each in found] == [keys.stream(name) for name in ("stream-window", "stream-feature", "stream-label")]
    assert found[0].metadata["lag"] == dg.IntMetadataValue(7)
    assert found[0].metadata["state"] == dg.TextMetadataValue("ok")
    assert found[0].metadata["last_error"] == dg.TextMetadataValue("none")


def test_services_that_answer_are_observed_and_the_others_named(free_ports: Callable[[int], list[int]]) -> None:
    first = free_ports(1)[0]
    settings = Settings(_env_file=None, metrics_port=first - SERVICES.index("store"))
    with listening(ServiceStatus("store"), settings):
        observed, away = observe_services(settings)
    assert [each.asset_key for each in observed] == [keys.STORE]
    assert away == ["bridge", "features", "inference", "commands"]
