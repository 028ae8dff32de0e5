"""A local stack of a test's own, driven by the command line as a person would."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mliot.clock import Deadline, SystemClock
from mliot.settings import PREFIX, Settings
from stack.environment import environment
from tests.freeports import free_ports

PORTS = tuple(name for name in Settings.model_fields if name.endswith("_port") and name != "metrics_port")
LOOK_EVERY_S = 0.2
T = TypeVar("T")


def settings_of_its_own(home: Path, **given: object) -> Settings:
    """Settings with ``home``, free ports and nothing out of the environment; the others are as given."""
    *ports, metrics = sorted(free_ports(len(PORTS) + 1))  # the services take those that follow ``metrics``: none of the others
    return Settings(_env_file=None, home=home, metrics_port=metrics, **dict(zip(PORTS, ports, strict=True)), **given)


@dataclass(frozen=True)
class Stack:
    """What a test acts on: the settings of a running stack, and its command line."""

    settings: Settings

    def mliot(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mliot.cli", *arguments],
            env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | environment(self.settings),
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


@contextmanager
def running(settings: Settings, *parts: str) -> Iterator[Stack]:
    """A stack with the parts named and what they need, all where none is; it is down after the block, whatever happened in it."""
    stack = Stack(settings)
    try:
        up = stack.mliot("up", *parts)
        assert up.returncode == 0, up.stderr[-3000:]
        yield stack
    finally:
        stack.mliot("down")


def until(what: str, look: Callable[[], T | None], within_s: float = 120) -> T:
    """What ``look`` finds, as soon as it finds something."""
    deadline = Deadline.after(SystemClock(), within_s)
    while not (found := look()):
        assert not deadline.passed(), f"{what}: not within {within_s:g} s"
        time.sleep(LOOK_EVERY_S)  # between two looks at a condition that has a deadline
    return found
