"""A second instance of a service: it takes its share of the work, and leaves it again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mliot.clock import Deadline, SystemClock
from mliot.mqtt import MqttClient
from mliot.settings import PREFIX, Settings
from stack.environment import environment
from stack.health import service as health_of
from tests.e2e.stack import settings_of_its_own, until
from tests.faults.site import Site

WORKS_S = 8.0
"""How long each second instance works before it goes."""
GOES_S = 40.0


@contextmanager
def comes_and_goes(site: Site, service: str) -> Iterator[list[str]]:
    """A second instance comes and ends in good order; another comes and is killed."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        _comes_and_goes(site, service, ending)
    yield []
    if service == "bridge":
        _forget_session(site)


def _comes_and_goes(site: Site, service: str, ending: signal.Signals) -> None:
    told = site.services.settings
    settings = settings_of_its_own(
        told.home.parent / f"second-{service}",
        instance="1",
        kafka_bootstrap=told.kafka_bootstrap,
        mqtt_url=told.mqtt_url,
        postgres_dsn=told.postgres_dsn,
        endpoint_url=told.endpoint_url,
    )
    settings.home.mkdir(exist_ok=True)
    process = _start(settings, service)
    try:
        until(f"a second {service} works", lambda: health_of(service)(settings).ok, within_s=120)
        time.sleep(WORKS_S)  # no result is waited for: so long there are two
        assert process.poll() is None, f"the second {service} ended by itself; see {settings.home}"
        process.send_signal(ending)
        process.wait(GOES_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _start(settings: Settings, service: str) -> subprocess.Popen[bytes]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | environment(settings)
    with (settings.home / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"streaming.services.{service}"], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _forget_session(site: Site) -> None:
    """The second bridge does not come back: else the broker would keep every frame for it for a week."""
    client = MqttClient(site.direct.mqtt_address, "mliot-bridge-1")
    client.start()
    client.wait_ready(30)
    client.stop(Deadline.after(SystemClock(), 5))
