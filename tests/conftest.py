"""Fixtures for every kind of test."""

import random
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mliot.featuremodels import FeatureModels, load_feature_models
from mliot.gate import Evidence
from mliot.modelcard import DataSnapshot, Interval, ModelCard
from mliot.modelstore import ModelStore
from mliot.settings import Settings
from mliot.stack.standalone import StandaloneServer
from mliot.usecase import UseCase
from mliot.warehouse.dbt import compile_for_stream

SaveConstantModel = Callable[..., str]


def constant_onnx(kind: str, answer: float, classes: Sequence[int], columns: int) -> bytes:
    """An ONNX model that answers ``answer`` to every row, shaped as those that training makes."""
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])
    rows = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "zero"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros", "axis"], ["zero_each"], keepdims=1),
    ]
    if kind == "number":
        answers = [helper.make_node("Add", ["zero_each", "answer"], ["variable"])]
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
        value = np.array([[answer]], dtype=np.float32)
    else:
        answers = [
            helper.make_node("Add", ["zero_each", "answer"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        outputs = [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(classes)]),
        ]
        others = 0.25 / (len(classes) - 1)
        value = np.array([[0.75 if one == answer else others for one in classes]], dtype=np.float32)
    constants = {"zero": np.zeros((1, columns), np.float32), "axis": np.array([1], np.int64), "answer": value}
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([*rows, *answers], "constant", [features], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def save_constant_model() -> SaveConstantModel:
    """Saves, into a store, a model of a use case that answers the same to every row; returns its version. Classes must be 0, 1, 2, ..."""

    def save(store: ModelStore, use_case: UseCase, answer: float, *, created_ms: int = 1_764_000_000_000, **changes: object) -> str:
        card = {
            "use_case": use_case.name,
            "title": use_case.title,
            "kind": use_case.kind,
            "unit": use_case.unit,
            "classes": use_case.classes,
            "features": use_case.features,
            "columns": use_case.columns,
            "feature_version": "feature-1",
            "estimator": f"constant({answer:g})",
            "data": DataSnapshot(rows=10, first_ms=0, last_ms=600_000, digest="0f"),
            "typical": dict.fromkeys(use_case.columns, 1.5),
            "metrics": {"macro_f1" if use_case.kind == "class" else "mae": 0.5},
            "evidence": Evidence(rows=10, loss=0.5, baseline_loss=0.6, champion_loss=None, parity=0, p99_ms=0.1, size_mb=0.1),
            "interval": Interval(half_width=0.5, coverage=0.9) if use_case.kind == "number" else None,
            "created_ms": created_ms,
            "libraries": {},
        }
        onnx_model = constant_onnx(use_case.kind, answer, use_case.classes, len(use_case.columns))
        return store.save(ModelCard(**{**card, **changes}), onnx_model)

    return save


def _free_ports(count: int) -> list[int]:
    """``count`` free ports below those that the system hands to outgoing connections, so that they are still free a moment later."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> FeatureModels:
    """The feature models as compiled for the stream; compiled once, since dbt takes seconds to start."""
    return load_feature_models(compile_for_stream(Settings(home=tmp_path_factory.mktemp("compiled"), _env_file=None)))


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Finds so many free ports."""
    return _free_ports


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
    ports = ("kafka_port", "kafka_controller_port", "mqtt_port", "postgres_port")
    with _open_folder() as folder:
        yield Settings(_env_file=None, home=folder, **dict(zip(ports, _free_ports(len(ports)), strict=True)))


def _running(settings: Settings, name: str) -> Iterator[StandaloneServer]:
    server = StandaloneServer(settings, name)
    server.start()
    yield server
    server.stop()


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
