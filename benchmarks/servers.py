"""The real servers and services, each a process, on free ports and in a folder of the benchmark's own."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from mliot.clock import Deadline, SystemClock
from mliot.services import SERVICES, metrics_port
from mliot.settings import HOST, Settings
from stack import guard, health
from stack.environment import environment
from stack.processes import marks
from stack.standalone import STOP_S, StandaloneServer
from stack.supervise import log_path

LOOK_EVERY_S = 0.05
"""Between two looks: each costs a service about a millisecond of its interpreter."""
PORTS = ("kafka_port", "kafka_controller_port", "mqtt_port", "mqtt_metrics_port", "postgres_port", "endpoint_port")
T = TypeVar("T")
MANY_NAMES = 1_000_000
"""Devices are made by the thousand here: none is to be refused as new."""


def own_settings(folder: Path, **changes: Any) -> Settings:
    """Settings of servers that belong to the benchmark alone: nothing out of the environment."""
    folder.chmod(0o711)  # as root, PostgreSQL runs under another account, which must pass through
    ports: dict[str, Any] = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    return Settings(_env_file=None, home=folder, new_names=MANY_NAMES, metrics_port=free_metrics_port(), **{**ports, **changes})


def free_metrics_port() -> int:
    """The first of as many free ports in a row as there are services."""
    while True:
        (first,) = _free_ports(1)
        if all(map(_is_free, range(first, first + len(SERVICES)))):
            return first


@contextmanager
def running(settings: Settings, *names: str) -> Iterator[list[StandaloneServer]]:
    """The parts of the stack named, started in this order and stopped in the other."""
    with ExitStack() as stack:
        yield [stack.enter_context(started(settings, name)) for name in names]


@contextmanager
def started(settings: Settings, name: str) -> Iterator[StandaloneServer]:
    """One part of the stack as a process."""
    with StandaloneServer(settings, name) as server:
        yield server


@contextmanager
def process(settings: Settings, service: str, module: str, *arguments: str) -> Iterator[None]:
    """``module`` as a process in the place of ``service``, whose port it answers on."""
    path = log_path(settings, service)
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = os.environ | environment(settings) | marks(settings.home, service)
    command = guard.wrap(service, "TERM", (sys.executable, "-m", module, *arguments))
    with path.open("ab") as out:
        child = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until(f"{module} answers, see {path}", lambda: health.service(service)(settings).up)
        yield
    finally:
        child.terminate()
        child.wait(STOP_S)


@contextmanager
def held(server: StandaloneServer) -> Iterator[None]:
    """``server`` stands still, so that its clients can start and wait for it; at the end of the block it lets them all in at once."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


class Health:
    """What running services say of themselves; one connection each, so that asking costs them little."""

    def __init__(self, *services: tuple[Settings, str]) -> None:
        self._urls = [f"http://{HOST}:{metrics_port(settings, name)}/health" for settings, name in services]
        self._http = httpx.Client(trust_env=False, timeout=10)

    def answers(self) -> list[dict[str, Any]]:
        return [self._http.get(url).raise_for_status().json() for url in self._urls]

    def read(self) -> int:
        """Records that all of them together have read and are done with."""
        return sum(answer["counts"].get("read", 0) for answer in self.answers())

    def wait_ok(self) -> None:
        """Returns once each of them works: it has its partitions, or its broker."""
        until("the services work", lambda: all(answer["state"] == "ok" for answer in self.answers()))

    def seconds_to_read(self, records: int, since: float) -> float:
        """Seconds from ``since`` (a reading of ``perf_counter``) until they have read so many ``records``."""
        return until(f"{records} records are read", lambda: time.perf_counter() - since if self.read() >= records else None)


def until(what: str, look: Callable[[], T | None], within_s: float = 300) -> T:
    """What ``look`` finds, as soon as it finds something."""
    deadline = Deadline.after(SystemClock(), within_s)
    while not (found := look()):
        if deadline.passed():
            raise TimeoutError(f"{what}: not within {within_s:g} s")
        time.sleep(LOOK_EVERY_S)
    return found


def _free_ports(count: int) -> Sequence[int]:
    """Below those that the system hands to outgoing connections, so that they are still free a moment later."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
