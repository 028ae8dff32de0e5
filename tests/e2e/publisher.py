"""A device of nobody's: it publishes at QoS 1 at a steady rate, and notes in a journal what the broker acknowledged."""

import json
import threading
from collections.abc import Callable

from mliot.clock import Deadline, SystemClock
from mliot.frames import frame_id
from mliot.journal import Acknowledged, Journal
from mliot.mqtt import MqttClient
from mliot.settings import Settings

TOPIC = "iot-frames-sensor"
DEVICES, PLACES = 40, 8
ROUND_S = 0.1


def right_clock(_: str) -> int:
    """No device's clock is wrong."""
    return 0


class Publisher:
    """Frames of forty devices in eight places while the block runs; on leaving it every one of them was acknowledged.

    ``patience_s`` is how long a broker that is away is waited for. ``clock_off_ms`` says how wrong a device's clock is.
    """

    def __init__(
        self,
        settings: Settings,
        frames_per_s: int,
        *,
        name: str = "test-publisher",
        patience_s: float = 60,
        clock_off_ms: Callable[[str], int] = right_clock,
    ) -> None:
        self._client = MqttClient(settings.mqtt_address, name, window=2000, clean_start=False, session_expiry_s=3600)
        self._journal = Journal(settings.journal_path, name)
        self._per_round = round(frames_per_s * ROUND_S)
        self._patience_s = patience_s
        self._clock_off_ms = clock_off_ms
        self._stop = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._run, name="publisher")
        self.sent = 0
        self.issued: set[str] = set()
        """The ids of all frames that were published."""
        self.owed: set[str] = set()
        """Those that the broker acknowledged."""

    def __enter__(self) -> "Publisher":
        self._client.start()
        self._client.wait_ready(30)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self._patience_s)
        left = self._client.stop(Deadline.after(SystemClock(), self._patience_s))
        self._journal.close()
        assert left == 0, f"{left} messages were never acknowledged"

    def _run(self) -> None:
        while not self._stop.wait(ROUND_S):
            for _ in range(self._per_round if self._flowing.is_set() else 0):
                self.one(f"sensor-{self.sent % DEVICES}")

    def pause(self) -> None:
        """No more frames, until :meth:`go_on`; those under way are still to be acknowledged."""
        self._flowing.clear()

    def go_on(self) -> None:
        self._flowing.set()

    def one(self, device: str) -> str:
        """Publishes a frame of ``device``; returns its id."""
        at = SystemClock().now_ms() + self._clock_off_ms(device)
        place = f"room-{self.sent % PLACES}"
        self.sent += 1
        payload = {"temperature": 20 + self.sent % 10, "humidity": 50, "timestamp": at, "number": self.sent}
        message = json.dumps({"name": device, "place_id": place, "payload": payload}).encode()
        identity = frame_id(device, at, message)
        self.issued.add(identity)
        self._client.publish(TOPIC, message, confirmed=lambda: self._acknowledged(identity), wait_s=self._patience_s)
        return identity

    def _acknowledged(self, identity: str) -> None:
        self._journal.write(Acknowledged("frame", identity, TOPIC, SystemClock().now_ms()))
        self.owed.add(identity)
