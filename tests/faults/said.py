"""How soon it is said that a part is away: by ``mliot status``, by the metrics of a service that needs it, and in that service's log."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import httpx

from mliot.clock import SystemClock
from mliot.services import metrics_port
from mliot.settings import HOST
from stack.status import survey
from stack.supervise import log_path
from tests.faults.site import SERVERS, SERVICES, Site

CALLED = {"artemis": "MQTT broker", "kafka": "Kafka", "postgres": "PostgreSQL", "endpoint": "model server"}
"""How the services name the servers."""
LOOK_EVERY_S = 0.2
WITHIN_S = 5.0


@dataclass
class Said:
    """Seconds from the fault until it was said; None where it was not, or nobody was there to say it."""

    status: float | None = None
    metric: float | None = None
    log: float | None = None

    def __str__(self) -> str:
        return " / ".join("-" if s is None else f"{s:.1f}" for s in (self.status, self.metric, self.log))


class Watch:
    """Looks while the block runs. Of a service only the status is watched: one that stands still has nothing to say."""

    def __init__(self, site: Site, part: str) -> None:
        self._site, self._part = site, part
        self._clock = SystemClock()
        self._over = threading.Event()
        self._began, self._began_ms = self._clock.monotonic(), self._clock.now_ms()
        self._pid = site.pid(part)
        self.said = Said()

    @contextmanager
    def watching(self) -> Iterator[Said]:
        """The block's first moment is the fault's."""
        looks = [self._status, *([self._metric] if self._part in SERVERS else [])]
        threads = [threading.Thread(target=self._until_over, args=(look,), name="watch") for look in looks]
        self._began, self._began_ms = self._clock.monotonic(), self._clock.now_ms()
        for thread in threads:
            thread.start()
        try:
            yield self.said
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        if self._part in SERVERS:
            self.said.log = self._logged()

    def _until_over(self, look: Callable[[], bool]) -> None:
        while not look() and not self._over.wait(LOOK_EVERY_S):
            pass

    def _status(self) -> bool:
        """What ``mliot status`` asks and prints, without the start of its process: the part is not well, or another one waits for it."""
        parts = {part.name: part for part in survey(self._site.services.settings)}
        it = parts[self._part]
        waited_for = self._part in SERVERS and any(CALLED[self._part] in parts[name].detail for name in SERVICES)
        if it.state == "ok" and it.pid in (None, self._pid) and not waited_for:
            return False
        self.said.status = self._clock.monotonic() - self._began
        return True

    def _metric(self) -> bool:
        """``mliot_up`` of a service is 0, and its reason names the part."""
        settings = self._site.services.settings
        for name in SERVICES:
            address = f"http://{HOST}:{metrics_port(settings, name)}"
            try:
                up = f'mliot_up{{service="{name}"}} 0.0' not in httpx.get(f"{address}/metrics", timeout=3, trust_env=False).text
                reason = "" if up else httpx.get(f"{address}/health", timeout=3, trust_env=False).json()["last_error"]
            except httpx.HTTPError:  # it starts just now
                continue
            if CALLED[self._part] in reason:
                self.said.metric = self._clock.monotonic() - self._began
                return True
        return False

    def _logged(self) -> float | None:
        """The earliest line since the fault in which a service says that it waits for the part."""
        found = []
        for name in SERVICES:
            for line in log_path(self._site.services.settings, name).read_text("utf-8", "replace").splitlines():
                if '"waiting"' in line and CALLED[self._part] in line:
                    at_ms = datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() * 1000
                    if at_ms >= self._began_ms:
                        found.append((at_ms - self._began_ms) / 1000)
        return min(found, default=None)
