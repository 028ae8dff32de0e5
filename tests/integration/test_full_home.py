"""The disk of a stack's home is full: it says so, nothing is lost, and everything goes on by itself once there is room."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from mliot.clock import SystemClock
from mliot.settings import HOST
from stack import supervise
from stack.status import problems
from tests.e2e.stack import Stack, running, settings_of_its_own, until

pytestmark = pytest.mark.stack
SIZE = "1200m"
FRAMES = 200
PARTS = ("bridge", "store")
SAID_WITHIN_S = 5
FULL_FOR_S = 20


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A stack whose home is a small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk that can be full")
    with tempfile.TemporaryDirectory(prefix="mliot-full-") as folder:
        Path(folder).chmod(0o711)
        disk = Path(folder) / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "mliot-full", str(disk)], check=False)
        if mounted.returncode:
            pytest.skip("this machine lets nobody mount a disk")
        try:
            with running(settings_of_its_own(disk / "home"), *PARTS) as stack:
                yield stack
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def publish(stack: Stack, device: str) -> int:
    """Sends frames; answers how many the broker has acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(HOST, stack.settings.mqtt_port)
    client.loop_start()
    now_ms = SystemClock().now_ms()
    frames = [json.dumps({"name": device, "payload": {"temperature": 20, "timestamp": now_ms + n}}) for n in range(FRAMES)]
    sent = [client.publish("iot-frames-sensor", frame, qos=1) for frame in frames]
    for one in sent:
        one.wait_for_publish(30)
    client.loop_stop()
    return sum(one.is_published() for one in sent)


def stored(stack: Stack, device: str) -> int:
    with psycopg.connect(stack.settings.postgres_address, connect_timeout=3) as store:
        row = store.execute("select count(*) from mliot.frame where device = %s", [device]).fetchone()
        assert row is not None
        return int(row[0])


def fill(path: Path) -> None:
    """Writes until nothing more fits."""

    def for_ever() -> None:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))

    with pytest.raises(OSError, match="No space left on device"):
        for_ever()


@pytest.mark.timeout(600)
def test_a_full_home_is_said_and_survived_and_everything_goes_on_by_itself(stack: Stack) -> None:
    home = stack.settings.home
    supervisor = supervise.running(stack.settings)
    assert supervisor is not None
    pid = supervisor.pid()
    assert publish(stack, "before") == FRAMES  # not all are stored yet: what the broker acknowledged lies on the disk that fills now
    filler = home.parent / "filler"
    fill(filler)
    clock = SystemClock()
    began = clock.monotonic()
    assert f"the disk of {home} is full: 0 MB are free" in str(problems(stack.settings))
    assert clock.monotonic() - began < SAID_WITHIN_S
    told = json.loads(stack.mliot("status", "--json").stdout)
    assert (told["healthy"], "is full" in str(told["problems"])) == (False, True)
    until("it was full for a while", lambda: clock.monotonic() - began > FULL_FOR_S)
    assert supervisor.pid() == pid
    assert supervisor.parts()["kafka"].alive
    assert "is full" in stack.mliot("up", "features").stderr

    filler.unlink()
    until("every part is well", lambda: json.loads(stack.mliot("status", "--json").stdout)["healthy"], within_s=240)
    assert supervisor.pid() == pid
    until("what was acknowledged before is stored", lambda: stored(stack, "before") == FRAMES)
    assert publish(stack, "after") == FRAMES
    until("what comes afterwards is stored", lambda: stored(stack, "after") == FRAMES)
