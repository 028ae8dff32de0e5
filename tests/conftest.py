"""Fixtures for every kind of test."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from mliot.featuremodels import FeatureModels, load_feature_models
from mliot.settings import Settings
from stack.standalone import StandaloneServer
from tests import constantmodel, freeports
from warehouse.dbt import compile_for_stream, stream_manifest

# how long an example takes says how busy the machine is, not whether the property holds
hypothesis.settings.register_profile("mliot", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("mliot")

SaveConstantModel = Callable[..., str]
CompiledSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
def save_constant_model() -> SaveConstantModel:
    """Saves, into a store, a model of a use case that answers the same to every row; returns its version. Classes must be 0, 1, 2, ..."""
    return constantmodel.save_constant_model


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest compiled for the stream: once for all worker processes of a test run, since it takes dbt some seconds."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return compile_for_stream(Settings(home=shared / "compiled", _env_file=None))


@pytest.fixture(scope="session")
def models(compiled: Path) -> FeatureModels:
    """The feature models as compiled for the stream."""
    return load_feature_models(compiled)


@pytest.fixture(scope="session")
def compiled_settings(compiled: Path) -> CompiledSettings:
    """Makes settings whose home holds what was compiled already, so that dbt is not asked again."""

    def make(**changes: Any) -> Settings:
        settings = Settings(_env_file=None, **changes)
        shutil.copytree(compiled.parent, stream_manifest(settings).parent, ignore=shutil.ignore_patterns("target", "logs"))
        return settings

    return make


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Finds so many free ports."""
    return freeports.free_ports


@contextmanager
def _open_folder() -> Iterator[Path]:
    """A folder that other accounts may pass through: as root, PostgreSQL runs under another one. (pytest keeps its own folders closed.)"""
    with tempfile.TemporaryDirectory(prefix="mliot-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder of this module alone in which a whole stack can live."""
    with _open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def server_settings() -> Iterator[Settings]:
    """Settings of servers that belong to this test run alone: a folder of their own, free ports, nothing out of the environment."""
    ports = ("kafka_port", "kafka_controller_port", "mqtt_port", "mqtt_metrics_port", "postgres_port")
    with _open_folder() as folder:
        yield Settings(_env_file=None, home=folder, **dict(zip(ports, freeports.free_ports(len(ports)), strict=True)))


def _running(settings: Settings, name: str) -> Iterator[StandaloneServer]:
    with StandaloneServer(settings, name) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server(server_settings: Settings) -> Iterator[StandaloneServer]:
    """A real Kafka with MLIoT's topics at ``server.settings.kafka_address``; started once, by the first test that asks for it."""
    yield from _running(server_settings, "kafka")


@pytest.fixture(scope="session")
def mqtt_server(server_settings: Settings) -> Iterator[StandaloneServer]:
    """A real MQTT broker (Artemis) at ``server.settings.mqtt_address``."""
    yield from _running(server_settings, "artemis")


@pytest.fixture(scope="session")
def postgres_server(server_settings: Settings) -> Iterator[StandaloneServer]:
    """A real PostgreSQL with the store's tables at ``server.settings.postgres_address``."""
    yield from _running(server_settings, "postgres")
