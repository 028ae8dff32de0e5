"""The prediction endpoint, one row a request: beside services as BentoML's first page shows them, and while its champion is swapped."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import joblib  # type: ignore[import-untyped]
import msgspec
import numpy as np
import psutil

from benchmarks import models
from benchmarks.clients import CLIENTS, Answer, ask, asking_until, post
from benchmarks.row import Row, Side
from benchmarks.servers import own_settings, started, until
from learning.store import ModelStore
from mliot.settings import HOST, Settings
from serving.schema import PredictRequest
from stack.processes import end
from usecases import load_use_cases

USE_CASE = load_use_cases()["fan_speed"]
WARM_S, ASKED_S = 1.0, 5.0
SWAPS, BETWEEN_S = 12, 0.3
SKLEARN, ONNX, CANNED = "default BentoML, the same scikit-learn", "default BentoML, the same ONNX", "a server of canned answers"
BEFORE = "before"


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings = own_settings(folder)
    versions = models.make_champion(settings, USE_CASE), models.make_champion(settings, USE_CASE)
    onnx = ModelStore(settings.models_path).get(USE_CASE.name, versions[0]).onnx_path
    forest = folder / "forest.joblib"
    joblib.dump(models.fitted(USE_CASE), forest)
    row = models.learnable(USE_CASE).values[0].tolist()
    ours, bare = _asked_of_ours(row), post("/predict", {"rows": [row]})
    with ExitStack() as stack:
        stack.enter_context(started(settings, "endpoint"))
        _check_page(settings)
        ports = {
            SKLEARN: stack.enter_context(_bentoml("benchmarks.peers.sklearn_service:Forest", forest, folder)),
            ONNX: stack.enter_context(_bentoml("benchmarks.peers.onnx_service:Forest", onnx, folder)),
            CANNED: stack.enter_context(_server([sys.executable, "-m", "benchmarks.peers.canned"], folder / "canned.log")),
        }
        said = {name: httpx.post(f"http://{HOST}:{ports[name]}/predict", json={"rows": [row]}).json() for name in (SKLEARN, ONNX)}
        if set(map(str, said.values())) != {str([_value(settings, ours)])}:
            raise ValueError(f"they do not answer alike: {said}, ours {_value(settings, ours)}")
        swapping = _Swapping(settings, ours, versions)
        yield (
            Row(
                f"Prediction endpoint, one row, {CLIENTS} clients",
                "requests/s",
                Side("MLIoT's endpoint", lambda: _rate(settings.endpoint_port, ours)),
                (
                    Side(SKLEARN, lambda: _rate(ports[SKLEARN], bare)),
                    Side(ONNX, lambda: _rate(ports[ONNX], bare)),
                    Side(CANNED, lambda: _rate(ports[CANNED], ours)),
                ),
                {SKLEARN: 20, ONNX: 4},
                note=f"A random forest of 100 trees over {len(row)} columns, asked over {CLIENTS} connections kept open, each again once "
                "it has its answer; one worker process each, and all give the same answer. The default services are typed, an array in and "
                "out (`@bentoml.api`, `bentoml serve`); ours takes named columns, checks them, adds probability and version, counts, and "
                "its OpenAPI page has every route. The canned answers show how much these clients could ask for.",
            ),
            Row(
                "Prediction endpoint, 99th percentile during a champion swap",
                "ms",
                Side("during", swapping.during),
                (Side(BEFORE, swapping.before),),
                {BEFORE: 1.2},
                better="less",
                note=f"The same clients at full load while the champion is swapped {SWAPS} times: all answers from each move of the alias "
                "until each client has been answered by the new version, its loading included, beside a time without any. An "
                "answer that fails fails the benchmark.",
            ),
        )


def _asked_of_ours(row: list[float]) -> bytes:
    return post("/predict", {"use_case": USE_CASE.name, "rows": [dict(zip(USE_CASE.columns, row, strict=True))]})


def _rate(port: int, request: bytes) -> float:
    """Answers a second, after a stretch to grow warm."""
    begin = time.perf_counter() + WARM_S
    end = begin + ASKED_S
    answers = ask(port, request, asking_until(end))
    return sum(begin <= answer.came < end for answer in answers) / ASKED_S


class _Swaps:
    """Swaps the champion again and again while clients ask: the next time once all of them have been answered by the new one."""

    def __init__(self, store: ModelStore, versions: tuple[str, str]) -> None:
        self._store = store
        self._next = cycle(versions)
        self._at = time.perf_counter() + WARM_S
        self._awaited = b""
        self.spans: list[tuple[float, float]] = []
        """From each move of the alias until each client has been answered by the version that it names."""

    def going(self, answers: list[Answer]) -> bool:
        """For :func:`ask`: True until all swaps are done."""
        now = time.perf_counter()
        if self._awaited:
            if all(self._awaited in answer.body for answer in answers[-CLIENTS:]):
                self.spans.append((self._at, now))
                self._awaited, self._at = b"", now + BETWEEN_S
        elif now >= self._at:
            if len(self.spans) == SWAPS:
                return False
            version = next(self._next)
            self._at, self._awaited = now, version.encode()
            Thread(target=self._move, args=(version,)).start()  # it waits for the disk, and the clients must not
        return True

    def _move(self, version: str) -> None:
        self._store.move(USE_CASE.name, "champion", version, who="benchmark", why="to be swapped")


class _Swapping:
    """The endpoint under load, with its champion swapped now and then, or left alone."""

    def __init__(self, settings: Settings, request: bytes, versions: tuple[str, str]) -> None:
        self._port, self._request, self._versions = settings.endpoint_port, request, versions
        self._store = ModelStore(settings.models_path)

    def during(self) -> float:
        """The 99th percentile of the answers during all swaps, ms."""
        swaps = _Swaps(self._store, self._versions)
        answers = ask(self._port, self._request, swaps.going)
        return _p99_ms([answer for answer in answers if any(answer.came >= at and answer.asked <= until for at, until in swaps.spans)])

    def before(self) -> float:
        """The same of a time in which nothing is swapped, ms."""
        begin = time.perf_counter() + WARM_S
        answers = ask(self._port, self._request, asking_until(begin + ASKED_S))
        return _p99_ms([answer for answer in answers if answer.asked >= begin])


def _p99_ms(answers: list[Answer]) -> float:
    return float(np.quantile([answer.came - answer.asked for answer in answers], 0.99) * 1000)


def _value(settings: Settings, request: bytes) -> int:
    (answer, *_) = ask(settings.endpoint_port, request, lambda _: False, clients=1)
    return int(msgspec.json.decode(answer.body)["predictions"][0]["value"])


def _check_page(settings: Settings) -> None:
    """Raises :class:`ValueError` where the OpenAPI description lacks a route that BentoML serves, or the request's fields."""
    page: dict[str, Any] = httpx.get(f"{settings.endpoint_address}/docs.json").raise_for_status().json()
    routes = {route["route"] for route in httpx.get(f"{settings.endpoint_address}/schema.json").raise_for_status().json()["routes"]}
    described = {path for path, operations in page["paths"].items() if "post" in operations}
    fields = set(page["components"]["schemas"]["PredictRequest"]["properties"])
    if routes != described or fields != set(PredictRequest.model_fields):
        raise ValueError(f"the OpenAPI page is not whole: it has {described} of {routes}, and of the request {fields}")


@contextmanager
def _bentoml(service: str, model: Path, folder: Path) -> Iterator[int]:
    """``bentoml serve`` as it comes; yields its port."""
    variables = {"MODEL_FILE": str(model), "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    name = service.partition(":")[0].rsplit(".", 1)[-1]
    with _server([sys.executable, "-m", "bentoml", "serve", service, "--host", HOST, "--port"], folder / f"{name}.log", variables) as port:
        until(f"{service} answers", _answers(f"http://{HOST}:{port}/readyz"))
        yield port


@contextmanager
def _server(command: list[str], log: Path, variables: dict[str, str] | None = None) -> Iterator[int]:
    """A process that listens on the port it is given as its last argument; ended with all that it started."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    with log.open("wb") as written:
        process = subprocess.Popen([*command, str(port)], env=os.environ | (variables or {}), stdout=written, stderr=written)
    try:
        until(f"{' '.join(command)} listens", lambda: _listens(process, port, log))
        yield port
    finally:
        here = psutil.Process(process.pid)
        end([here, *here.children(recursive=True)], within_s=10)
        process.wait()


def _listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> bool:
    if process.poll() is not None:
        raise ChildProcessError(log.read_text()[-2000:])
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _answers(url: str) -> Callable[[], bool]:
    def look() -> bool:
        try:
            return httpx.get(url).is_success
        except httpx.TransportError:
            return False

    return look
