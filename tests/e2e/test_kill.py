"""``kill -9`` of each part in turn, while 200 frames a second come in; then every id is accounted for, and a fresh frame gets through."""

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from mliot.clock import Deadline, SystemClock
from mliot.frames import frame_id
from mliot.journal import Acknowledged, Journal
from mliot.modelstore import ModelStore
from mliot.mqtt import MqttClient
from mliot.settings import Settings
from mliot.usecase import load_use_cases
from tests.e2e.stack import Stack, running, until

SERVICES = ("bridge", "features", "inference", "online", "store", "commands")
VICTIMS = (*SERVICES, "endpoint", "postgres", "kafka", "artemis")
FRAMES_PER_S = 200

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture
def stack(make_settings: Callable[..., Settings], save_constant_model: Callable[..., str]) -> Iterator[Stack]:
    settings = make_settings()
    store = ModelStore(settings.models_path)
    use_case = load_use_cases()["fan_speed"]
    store.move("fan_speed", "champion", save_constant_model(store, use_case, 2.0), who="test", why="a champion to ask")
    with running(settings, "endpoint", *SERVICES) as started:
        yield started


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
    until("the fresh frame is in the store", lambda: stack.mliot("trace", fresh, "--json").returncode == 0, within_s=60)
    audit = stack.mliot("audit", "--wait", "120")
    with capsys.disabled():
        print(f"\n{sent} frames; well again after, in s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items()))
    assert audit.returncode == 0, audit.stdout[-6000:] + audit.stderr[-2000:]
    assert "clean" in audit.stdout
