"""Is a part well? Each check asks the part itself, over its own protocol, and answers within a few seconds."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import httpx
import paho.mqtt.client as paho
import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from mliot.burstclient import BurstClient
from mliot.clock import Deadline, SystemClock
from mliot.mqtt import authenticate, no_connection
from mliot.mqttaddress import BrokerAddress
from mliot.services import metrics_port
from mliot.settings import HOST, Settings

ANSWER_S = 3
State = Literal["ok", "waiting", "stalled", "starting", "stopping", "stopped", "away"]


@dataclass(frozen=True)
class Health:
    """What a part says of itself. ``waiting``: it works, but something that it needs does not. ``stalled``: it is behind and gets no
    further. ``away``: it does not answer."""

    state: State
    detail: str = ""
    rate_per_s: float | None = None
    lag: int | None = None
    last_error: str = ""
    last_error_ms: int | None = None

    @property
    def ok(self) -> bool:
        return self.state == "ok"

    @property
    def up(self) -> bool:
        """It runs, although it may wait for another part or stand still."""
        return self.state in ("ok", "waiting", "stalled")


Check = Callable[[Settings], Health]


def kafka(settings: Settings) -> Health:
    """Kafka answers a metadata request with at least one broker."""
    silent = logging.Logger("kafka", level=logging.CRITICAL + 1)  # what it would log is in the answer
    admin = AdminClient({"bootstrap.servers": settings.kafka_address}, logger=silent)
    try:
        metadata = admin.list_topics(timeout=ANSWER_S)
    except KafkaException as error:
        return Health("away", error.args[0].str())
    return Health("ok", f"brokers: {len(metadata.brokers)}, topics: {len(metadata.topics)}")


def mqtt(settings: Settings) -> Health:
    """The broker accepts an MQTT 5 CONNECT."""
    address = BrokerAddress.of(settings.mqtt_address)
    client = BurstClient(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    authenticate(client, address)
    answers: list[ReasonCode] = []
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason)
    deadline = Deadline.after(SystemClock(), ANSWER_S)
    client.connect_timeout = ANSWER_S
    try:
        client.connect(address.host, address.port)
        while not answers and not deadline.passed():
            if client.loop(timeout=0.05) != paho.MQTT_ERR_SUCCESS:
                break
    except OSError as error:
        return Health("away", no_connection(error) if isinstance(error, ssl.SSLError) else _reason(error))
    finally:
        client.disconnect()
    if not answers:
        return Health("away", "no answer to CONNECT")
    return Health("away", f"refuses: {answers[0]}") if answers[0].is_failure else Health("ok", "accepts MQTT 5")


def postgres(settings: Settings) -> Health:
    """The store's database answers ``select 1``."""
    try:
        with psycopg.connect(settings.postgres_address, connect_timeout=ANSWER_S) as connection:
            connection.execute("select 1")
            return Health("ok", f"version {connection.info.server_version // 10000}")
    except psycopg.OperationalError as error:
        return Health("away", _reason(error))


def endpoint(settings: Settings) -> Health:
    """The endpoint answers; what of its model store it cannot read, and which use case no model answers for, stands beside it."""
    try:
        answer = httpx.get(f"{settings.endpoint_address}/health", timeout=ANSWER_S, trust_env=False, verify=_tls())
        answer.raise_for_status()
        told = answer.json()
        faults = [f"{subject}: {why}" for subject, why in told["faults"].items()]
        lacking = [f"no champion of {use_case}: {why}" for use_case, why in told["without_champion"].items()]
        return Health(told["state"], "; ".join([*faults, *lacking]))
    except (httpx.HTTPError, KeyError, AttributeError, ValueError) as error:
        return Health("away", _reason(error))


def dashboard(settings: Settings) -> Health:
    return http(f"{settings.dashboard_address}/health")


def dagster_web(settings: Settings) -> Health:
    return http(f"{settings.dagster_address}/server_info")


def dagster_code(settings: Settings) -> Health:
    """The code server answers gRPC's health protocol: the definitions are loaded."""
    import grpc  # type: ignore[import-untyped]  # 70 ms that only this check needs
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse  # type: ignore[import-untyped]
    from grpc_health.v1.health_pb2_grpc import HealthStub  # type: ignore[import-untyped]

    with grpc.insecure_channel(f"{HOST}:{settings.dagster_code_port}") as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(service="DagsterApi"), timeout=ANSWER_S)
        except grpc.RpcError as error:
            return Health("away", error.code().name.lower())
    return Health("ok") if answer.status == HealthCheckResponse.SERVING else Health("starting", "loads the definitions")


def dagster_daemon(settings: Settings) -> Health:
    """Every daemon that Dagster requires has a fresh heartbeat, as its web server tells."""
    query = "{instance{daemonHealth{allDaemonStatuses{daemonType healthy required}}}}"
    try:
        answer = httpx.post(f"{settings.dagster_address}/graphql", json={"query": query}, timeout=ANSWER_S, trust_env=False, verify=_tls())
        answer.raise_for_status()
        statuses: list[dict[str, Any]] = answer.json()["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
        return Health("away", f"Dagster's web server does not tell: {_reason(error)}")
    sick = [status["daemonType"] for status in statuses if status["required"] and not status["healthy"]]
    return Health("starting", f"no heartbeat of {', '.join(sick).lower()}") if sick else Health("ok")


def service(name: str) -> Check:
    """The check of a service of MLIoT: what it answers at ``/health``, rate, lag and last error included."""

    def check(settings: Settings) -> Health:
        try:
            answer = httpx.get(f"http://{HOST}:{metrics_port(settings, name)}/health", timeout=ANSWER_S, trust_env=False, verify=_tls())
            answer.raise_for_status()
            told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            return Health("away", _reason(error))
        said = told.get("waits_for") or "; ".join(filter(None, (told.get("notice"), *told.get("remarks", ()))))
        detail = told["stalled"] if told["state"] == "stalled" else said
        return Health(told["state"], detail, told["rate_per_s"], told["lag"], told["last_error"], told["last_error_ms"])

    return check


def http(url: str) -> Health:
    """``url`` answers with success."""
    try:
        answer = httpx.get(url, timeout=ANSWER_S, follow_redirects=True, trust_env=False, verify=_tls())
    except httpx.HTTPError as error:
        return Health("away", _reason(error))
    return Health("ok") if answer.is_success else Health("away", f"answers {answer.status_code}")


@cache
def _tls() -> ssl.SSLContext:
    """Made once a process: it reads every certificate authority, which takes a hundred times as long as the request."""
    return httpx.create_ssl_context()


def _reason(error: Exception) -> str:
    """The first line of what went wrong, short enough for a table."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]
