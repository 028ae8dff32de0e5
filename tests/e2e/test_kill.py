"""``kill -9`` of each part in turn, while 200 frames a second come in; then every id is accounted for, and a fresh frame gets through."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mliot.clock import Deadline, SystemClock
from mliot.frames import frame_id
from mliot.journal import Acknowledged, Journal
from mliot.modelstore import ModelStore
from mliot.mqtt import MqttClient
from mliot.settings import PREFIX, Settings
from mliot.usecase import load_use_cases

SERVICES = ("bridge", "features", "inference", "online", "store", "commands")
VICTIMS = (*SERVICES, "endpoint", "postgres", "kafka", "artemis")
FRAMES_PER_S = 200
PORTS = (
    "kafka_port",
    "kafka_controller_port",
    "mqtt_port",
    "postgres_port",
    "endpoint_port",
    "dagster_port",
    "dagster_code_port",
    "dashboard_port",
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@dataclass
class Stack:
    """A local stack of this test's own, driven by the command line as a person would."""

    settings: Settings
    environment: dict[str, str] = field(repr=False)

    def mliot(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mliot.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def parts(self) -> dict[str, dict]:
        return {part["name"]: part for part in json.loads(self.mliot("status", "--json").stdout)["parts"]}

    def kill(self, victim: str) -> int:
        pid = self.parts()[victim]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_well(self, victim: str, killed: int, deadline_s: float = 90) -> float:
        """Seconds until ``victim`` runs anew and every part is well."""
        clock = SystemClock()
        began, deadline = clock.monotonic(), Deadline.after(clock, deadline_s)
        while True:
            parts = self.parts()
            started = {name: part for name, part in parts.items() if part["state"] != "stopped"}
            if parts[victim]["pid"] not in (None, killed) and all(part["state"] == "ok" for part in started.values()):
                return clock.monotonic() - began
            assert not deadline.passed(), {name: (part["state"], part["detail"]) for name, part in started.items()}


@pytest.fixture
def stack(open_folder: Path, free_ports: Callable[[int], list[int]], save_constant_model) -> Iterator[Stack]:
    found = free_ports(len(PORTS) + 1)
    ports = dict(zip(PORTS, found[:-1], strict=True)) | {"metrics_port": 33_000 + found[-1] % 5000}
    settings = Settings(_env_file=None, home=open_folder / "home", **ports)
    store = ModelStore(settings.models_path)
    use_case = load_use_cases()["fan_speed"]
    store.move("fan_speed", "champion", save_constant_model(store, use_case, 2.0), who="test", why="a champion to ask")
    own = {f"{PREFIX}{name.upper()}": str(value) for name, value in {"home": settings.home, **ports}.items()}
    made = Stack(settings, {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)} | own)
    up = made.mliot("up", "endpoint", *SERVICES)
    try:
        assert up.returncode == 0, up.stderr[-3000:]
        yield made
    finally:
        made.mliot("down")


class Publisher:
    """Publishes as a device would, at QoS 1, and notes in a journal what the broker acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._client = MqttClient(settings.mqtt_address, "test-publisher", window=2000, clean_start=False, session_expiry_s=3600)
        self._journal = Journal(settings.journal_path, "test-publisher")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")
        self.sent = 0

    def __enter__(self) -> "Publisher":
        self._client.start()
        self._client.wait_ready(30)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        left = self._client.stop(Deadline.after(SystemClock(), 60))
        self._journal.close()
        assert left == 0, f"{left} messages were never acknowledged"

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for _ in range(FRAMES_PER_S // 10):
                self.one(f"sensor-{self.sent % 40}")

    def one(self, device: str) -> str:
        now = SystemClock().now_ms()
        place = f"room-{self.sent % 8}"
        self.sent += 1
        payload = {"temperature": 20 + self.sent % 10, "humidity": 50, "timestamp": now, "number": self.sent}
        message = json.dumps({"name": device, "place_id": place, "payload": payload}).encode()
        identity = frame_id(device, now, message)
        entry = Acknowledged("frame", identity, "iot-frames-sensor", now)
        self._client.publish("iot-frames-sensor", message, confirmed=lambda: self._journal.write(entry), wait_s=60)
        return identity


def test_nothing_owed_is_missing_and_nothing_comes_twice(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    took: dict[str, float] = {}
    with Publisher(stack.settings) as publisher:
        for victim in VICTIMS:
            killed = stack.kill(victim)
            took[victim] = stack.wait_well(victim, killed)
        sent = publisher.sent
        fresh = publisher.one("fresh-one")
    assert sent > FRAMES_PER_S * 10
    deadline = Deadline.after(SystemClock(), 60)
    while (trace := stack.mliot("trace", fresh, "--json")).returncode != 0:
        assert not deadline.passed(), trace.stderr + stack.mliot("status").stdout
        time.sleep(0.2)  # between two looks at a condition that has a deadline
    audit = stack.mliot("audit", "--wait", "120")
    with capsys.disabled():
        print(f"\n{sent} frames; well again after, in s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items()))
    assert audit.returncode == 0, audit.stdout[-6000:] + audit.stderr[-2000:]
    assert "clean" in audit.stdout
