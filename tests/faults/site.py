"""Where the faults happen: servers in one stack, services in another, and between them a proxy for each server.

The devices and the audit go straight to the servers: what they say does not depend on a proxy.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from learning.store import ModelStore
from mliot.settings import Settings
from stack import artemis, postgres, supervise
from stack.processes import of_stack
from tests.constantmodel import save_constant_model
from tests.e2e.stack import Stack, running, settings_of_its_own
from tests.faults.kafkaproxy import KafkaProxy
from tests.faults.proxy import Proxy
from usecases import load_use_cases

SERVERS = ("artemis", "kafka", "postgres", "endpoint")
SERVICES = ("bridge", "features", "inference", "online", "store", "commands")
DISKS = ("kafka", "postgres")
DISK = "4g"
"""Of each disk that can be made full. It lies in memory, and takes what is written to it."""


@dataclass(frozen=True)
class Site:
    """A running platform. ``services`` are told the proxies' addresses, ``direct`` are the same settings with the servers' own."""

    servers: Stack
    services: Stack
    direct: Settings
    links: Mapping[str, Proxy]
    kafka: KafkaProxy

    def stack_of(self, part: str) -> Stack:
        return self.servers if part in SERVERS else self.services

    def pid(self, part: str) -> int:
        """The process that the supervisor started for ``part``."""
        supervisor = supervise.running(self.stack_of(part).settings)
        assert supervisor is not None, "the stack is down"
        return supervisor.parts()[part].pid

    def processes(self, part: str = "") -> list[psutil.Process]:
        """Every process of ``part``, workers too; of everything, supervisors too, where none is named."""
        stacks = [self.stack_of(part)] if part else [self.services, self.servers]
        return [process for stack in stacks for process in of_stack(str(stack.settings.home.absolute()), part)]

    def disk(self, part: str) -> Path:
        return self.servers.settings.home / part

    def audit(self, wait_s: int) -> dict[str, Any]:
        """What ``mliot audit`` finds, as soon as it is clean, or after ``wait_s``."""
        done = Stack(self.direct).mliot("audit", "--json", "--wait", str(wait_s), timeout=wait_s + 300)
        assert done.stdout, done.stderr[-2000:]
        return dict(json.loads(done.stdout))

    def up(self) -> None:
        """Starts whatever does not run, servers first."""
        for stack, parts in ((self.servers, SERVERS), (self.services, SERVICES)):
            done = stack.mliot("up", *parts)
            assert done.returncode == 0, done.stderr[-3000:]

    def down(self) -> None:
        for stack in (self.services, self.servers):
            stack.mliot("down")


@contextmanager
def site() -> Iterator[Site]:
    """A platform in a folder of its own that is gone after the block, with a champion to ask. As root its disks can be made full."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="mliot-faults-")))
        folder.chmod(0o711)  # as root PostgreSQL runs under another account
        servers = settings_of_its_own(folder / "servers")
        if os.geteuid() == 0:
            for part in DISKS:
                exits.enter_context(_disk(servers.home / part))
        postgres.make_password(servers)
        artemis.make_password(servers)
        _crown(servers)
        kafka = exits.enter_context(KafkaProxy(servers.kafka_port))
        ports = {"artemis": servers.mqtt_port, "postgres": servers.postgres_port, "endpoint": servers.endpoint_port}
        links = {"kafka": kafka, **{part: exits.enter_context(Proxy(port)) for part, port in ports.items()}}
        services = settings_of_its_own(
            folder / "services",
            kafka_bootstrap=kafka.address,
            mqtt_url=_at(servers.mqtt_address, links["artemis"].port),
            postgres_dsn=_at(servers.postgres_address, links["postgres"].port),
            endpoint_url=f"http://{links['endpoint'].address}",
        )
        straight = settings_of_its_own(
            services.home,
            kafka_bootstrap=servers.kafka_address,
            mqtt_url=servers.mqtt_address,
            postgres_dsn=servers.postgres_address,
            endpoint_url=servers.endpoint_address,
        )
        below = exits.enter_context(running(servers, *SERVERS))
        above = exits.enter_context(running(services, *SERVICES))
        yield Site(below, above, straight, links, kafka)


def _at(address: str, port: int) -> str:
    """``address``, credentials included, with another port."""
    parts = urlsplit(address)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()


def _crown(settings: Settings) -> None:
    """A champion that answers the same to every row: what is proved here is where answers go, not whether they are right."""
    store = ModelStore(settings.models_path)
    version = save_constant_model(store, load_use_cases()["fan_speed"], 2.0)
    store.move("fan_speed", "champion", version, who="faults", why="a champion to ask")


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """A disk of its own, mounted at ``path``."""
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "mliot-faults", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
