"""The whole path of a frame on this machine: every server and service from a device's publish to the prediction in PostgreSQL."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks import log, models
from benchmarks.frames import SENSORS, published
from benchmarks.mqtt import PATIENCE_S, WINDOW
from benchmarks.servers import Health, own_settings, running, until
from mliot.clock import Deadline, SystemClock
from mliot.mqtt import MqttClient
from mliot.settings import Settings
from stack.postgres import SUPERUSER
from stack.standalone import StandaloneServer
from usecases import load_use_cases
from warehouse.dbt import compile_for_stream

SERVICES = ("bridge", "features", "inference", "store")
USECASES = Path(__file__).parent / "usecases"
"""One that predicts for every single frame."""
NEWEST = "select at_ms from mliot.prediction where use_case = 'comfort' and not shadow order by made_ms desc limit 1"
LOOK_EVERY_S = 0.5


class WholePath:
    """Everything runs; each frame becomes a prediction."""

    def __init__(self, settings: Settings, connection: psycopg.Connection, parts: Mapping[str, psutil.Process]) -> None:
        self.settings, self.connection, self._parts = settings, connection, parts
        self._rng = Random(7)

    def clear(self) -> None:
        """Forgets every frame of before; the services have read them all."""
        log.empty(self.settings)
        self.connection.execute('truncate mliot.frame, mliot."window", mliot.feature, mliot.prediction, mliot.label')

    def publish(self, rate: float, seconds: float, look: Callable[[], None] = lambda: None) -> int:
        """Publishes so many frames a second, each when it is due, whether or not those before it were acknowledged; returns their number.

        A frame's event time is when it was due, so that what the publisher is late counts too. ``look`` is called now and then.
        """
        client = MqttClient(self.settings.mqtt_address, "publisher", window=WINDOW)
        client.start()
        try:
            client.wait_ready(PATIENCE_S)
            frames, began, look_at = round(rate * seconds), time.time(), 0.0
            for number in range(frames):
                due = began + number / rate
                ahead = due - time.time()
                if ahead > 0:
                    time.sleep(ahead)
                if due >= look_at:
                    look()
                    look_at = due + LOOK_EVERY_S
                frame = published(number % SENSORS, int(due * 1000), self._rng)
                client.publish(frame.topic, frame.message, wait_s=PATIENCE_S)
            return frames
        finally:
            client.stop(Deadline.after(SystemClock(), PATIENCE_S))

    def wait_stored(self, frames: int) -> None:
        """Returns once so many predictions are stored."""
        until(f"{frames} predictions are stored", lambda: self._stored() >= frames)

    def newest_age_ms(self) -> float:
        """How long ago the frame of the newest stored prediction was due; 0 where none is stored."""
        row = self.connection.execute(NEWEST).fetchone()
        return time.time() * 1000 - row[0] if row else 0.0

    def cpu_s(self) -> dict[str, float]:
        """CPU time that each part has used so far, seconds."""
        return {name: _cpu_s(process) for name, process in self._parts.items()}

    def _stored(self) -> int:
        row = self.connection.execute("select count(*) from mliot.prediction where use_case = 'comfort'").fetchone()
        return int(row[0]) if row else 0


@contextmanager
def whole_path(folder: Path) -> Iterator[WholePath]:
    """The path, running and warmed up."""
    settings = own_settings(folder, usecases=USECASES)
    compile_for_stream(settings)
    use_cases = load_use_cases(settings.usecases)
    for name in ("comfort", "fan_speed"):
        models.make_champion(settings, use_cases[name])
    names = ("postgres", "artemis", "kafka", "endpoint", *SERVICES)
    with running(settings, "postgres") as (postgres,):
        _stamp_commits(settings, postgres)
        with (
            running(settings, *names[1:]) as others,
            psycopg.connect(settings.postgres_address, autocommit=True) as connection,
        ):
            parts = {"publisher": psutil.Process()} | {server.name: psutil.Process(server.pid) for server in (postgres, *others)}
            Health(*((settings, name) for name in SERVICES)).wait_ok()
            path = WholePath(settings, connection, parts)
            path.wait_stored(path.publish(rate=200, seconds=10))
            yield path


def _stamp_commits(settings: Settings, postgres: StandaloneServer) -> None:
    """Has PostgreSQL keep the time of each commit, which tells when a prediction was stored."""
    password = settings.postgres_password_path.read_text("utf-8").strip()
    with psycopg.connect(make_conninfo(settings.postgres_address, user=SUPERUSER, password=password), autocommit=True) as connection:
        connection.execute("alter system set track_commit_timestamp = on")
    postgres.stop()
    postgres.start()


def _cpu_s(process: psutil.Process) -> float:
    """Of PostgreSQL with the processes of its connections; what this one started are parts of their own."""
    workers = process.children() if process.name() == "postgres" else []
    return sum(sum(one.cpu_times()[:2]) for one in (process, *workers))
