"""The parts of the local stack, declared: what each runs, needs, listens on and answers. Nothing here starts anything."""

import sys
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

from mliot.errors import UserError
from mliot.services import SERVICES, metrics_port
from mliot.settings import Settings
from stack import artemis, dagster, health, kafka, postgres
from stack.environment import own_servers
from stack.ports import Listener

SERVER_S, SERVICE_S = 90, 300
"""Seconds that a start may take on a busy machine, before it counts as failed."""


def _nothing(_: Settings) -> None:
    """Most parts need no preparation."""


def _no_environment(_: Settings) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Part:
    """One process of the stack, or (``external``) a server of the user's own that takes its place.

    An address that names the local server itself (out of ``mliot env``, say) does not make it external.
    ``prepare`` runs before the start, ``ready`` once it is well; both do nothing where their work is done already.
    """

    name: str
    about: str
    command: tuple[str, ...]
    check: health.Check
    needs: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    environment: Callable[[Settings], dict[str, str]] = _no_environment
    stop: str = "TERM"
    stop_s: int = 30
    start_s: int = SERVICE_S
    jars: str = ""
    external: bool = False
    prepare: Callable[[Settings], None] = _nothing
    ready: Callable[[Settings], None] = _nothing

    @property
    def group(self) -> str:
        """``servers`` start first and stop last."""
        return "services" if self.needs else "servers"


def plan(settings: Settings) -> tuple[Part, ...]:
    """Every part in an order in which each stands behind what it needs."""
    return (*_servers(settings), *_decisions(settings), *_services(settings), *_dagster(settings))


def choose(parts: tuple[Part, ...], names: Iterable[str]) -> tuple[Part, ...]:
    """The parts named and what they need, in the plan's order; all where none is named. Raises :class:`UserError` on an unknown name."""
    by_name = {part.name: part for part in parts}
    wanted: set[str] = set()
    waiting = list(names) or list(by_name)
    while waiting:
        name = waiting.pop()
        if name not in by_name:
            raise UserError(f"{name!r} is no part of the stack; its parts are {', '.join(by_name)}")
        if name not in wanted:
            wanted.add(name)
            waiting.extend(by_name[name].needs)
    return tuple(part for part in parts if part.name in wanted)


def startable(left: Iterable[Part], well: Set[str]) -> list[Part]:
    """Those of ``left`` that wait for nothing: each thing they need is in ``well`` (or is no part that is to be started)."""
    waiting = list(left)
    awaited = {part.name for part in waiting}
    return [part for part in waiting if not (set(part.needs) & awaited) - well]


def _servers(settings: Settings) -> tuple[Part, ...]:
    own = own_servers(settings)
    return (
        Part(
            "artemis",
            "MQTT broker",
            artemis.command(settings),
            health.mqtt,
            external=bool(own.mqtt_url),
            jars="artemis",
            listeners=artemis.listeners(settings),
            start_s=SERVER_S,
            environment=artemis.environment,
            prepare=artemis.prepare,
        ),
        Part(
            "kafka",
            "the log",
            kafka.command(settings),
            health.kafka,
            external=bool(own.kafka_bootstrap),
            jars="kafka",
            listeners=(Listener(settings.kafka_port, "kafka_port"), Listener(settings.kafka_controller_port, "kafka_controller_port")),
            start_s=SERVER_S,
            environment=kafka.environment,
            prepare=kafka.prepare,
            ready=kafka.create_topics,
        ),
        Part(
            "postgres",
            "store",
            postgres.command(settings),
            health.postgres,
            external=bool(own.postgres_dsn),
            listeners=(Listener(settings.postgres_port, "postgres_port"),),
            stop="INT",
            start_s=SERVER_S,
            prepare=postgres.prepare,
            ready=postgres.create_store,
        ),
    )


def _decisions(settings: Settings) -> tuple[Part, ...]:
    own = own_servers(settings)
    return (
        Part(
            "endpoint",
            "predictions over HTTP",
            _python("serving"),
            health.endpoint,
            needs=("postgres",),
            listeners=(Listener(settings.endpoint_port, "endpoint_port"),),
            external=bool(own.endpoint_url),
        ),
        Part(
            "dashboard",
            "operators' page",
            _python("dashboard"),
            health.dashboard,
            needs=("postgres",),
            listeners=(Listener(settings.dashboard_port, "dashboard_port"),),
            external=bool(own.dashboard_url),
        ),
    )


def _services(settings: Settings) -> tuple[Part, ...]:
    about = {
        "bridge": ("MQTT to Kafka", ("artemis", "kafka")),
        "features": ("frames to windows and features", ("kafka",)),
        "inference": ("features to predictions", ("kafka",)),
        "online": ("models that learn from every label", ("kafka",)),
        "store": ("Kafka to PostgreSQL", ("kafka", "postgres")),
        "commands": ("predictions to commands", ("artemis", "kafka")),
        "fleet": ("simulated devices", ("artemis", "bridge")),
    }
    return tuple(
        Part(
            name,
            about[name][0],
            _python(f"{'devices' if name == 'fleet' else 'streaming.services'}.{name}"),
            health.service(name),
            needs=about[name][1],
            listeners=(Listener(metrics_port(settings, name), "metrics_port", offset=SERVICES.index(name)),),
        )
        for name in SERVICES
    )


def _dagster(settings: Settings) -> tuple[Part, ...]:
    if own_servers(settings).dagster_url:
        return (Part("dagster-web", "Dagster's page", (), health.dagster_web, needs=("postgres",), external=True),)
    return (
        Part(
            "dagster-code",
            "Dagster's definitions",
            dagster.code_server(settings),
            health.dagster_code,
            needs=("postgres", "kafka"),
            listeners=(Listener(settings.dagster_code_port, "dagster_code_port"),),
            environment=dagster.environment,
            prepare=dagster.prepare,
        ),
        Part(
            "dagster-web",
            "Dagster's page",
            dagster.web_server(settings),
            health.dagster_web,
            needs=("postgres", "dagster-code"),
            listeners=(Listener(settings.dagster_port, "dagster_port"),),
            environment=dagster.environment,
        ),
        Part(
            "dagster-daemon",
            "Dagster's schedules and sensors",
            dagster.daemon(settings),
            health.dagster_daemon,
            needs=("postgres", "dagster-code"),
            environment=dagster.environment,
        ),
    )


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
