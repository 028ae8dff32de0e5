"""Apache Kafka as one KRaft node: its configuration, its command, how its storage is formatted and its topics are made."""

import logging
import os
import secrets
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mliot.errors import Transient, UserError
from mliot.fields import MAX_ORIGINAL, MAX_RECORD
from mliot.messages import CHECKPOINT_TOPIC, TOPICS, DeadLetter
from mliot.settings import HOST, Settings
from stack import java


def folder(settings: Settings) -> Path:
    return settings.home.absolute() / "kafka"


def properties(settings: Settings) -> str:
    """The text of ``server.properties``: one node that is broker and controller, replication 1, listeners on loopback only."""
    pairs = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{settings.kafka_controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{settings.kafka_port},CONTROLLER://{HOST}:{settings.kafka_controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{settings.kafka_port}",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": folder(settings) / "data",
        "auto.create.topics.enable": "false",
        "num.partitions": settings.partitions,
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # offsets carry the services' state: they must outlive a stack that was down for a week
        "offsets.retention.minutes": settings.retention_days * 24 * 60,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "message.max.bytes": MAX_RECORD,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in pairs.items())


def properties_path(settings: Settings) -> Path:
    return folder(settings) / "server.properties"


def command(settings: Settings) -> tuple[str, ...]:
    return java.command(512, "kafka.Kafka", properties_path(settings))


def environment(_: Settings) -> dict[str, str]:
    return java.environment("kafka")


def prepare(settings: Settings) -> None:
    """Write the configuration; format the storage where that was never done. Raises :class:`UserError` with Kafka's own reason."""
    path = properties_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(properties(settings), "utf-8")
    if (path.parent / "data" / "meta.properties").exists():
        return
    cluster = cluster_id(secrets.token_bytes(16))
    tool = java.command(128, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", path)
    done = subprocess.run(tool, env=os.environ | environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"{path.parent / 'data'}: Kafka cannot format its storage: {reason[-1] if reason else f'exit {done.returncode}'}")


def cluster_id(drawn: bytes) -> str:
    """Sixteen random bytes as Kafka writes an id. It never begins with ``-``, which Kafka's tool would take for an option."""
    return "0" + urlsafe_b64encode(drawn).decode().rstrip("=")[1:]


def topics(settings: Settings) -> list[NewTopic]:
    """The topics of MLIoT: kept for the retention, the checkpoint topic compacted instead."""

    def config(topic: str) -> dict[str, str]:
        if topic == CHECKPOINT_TOPIC:
            return {"cleanup.policy": "compact", "max.message.bytes": str(MAX_RECORD)}
        largest = MAX_RECORD if topic == DeadLetter.topic_name else MAX_ORIGINAL
        return {"retention.ms": str(settings.retention_ms), "max.message.bytes": str(largest)}

    return [NewTopic(topic, num_partitions=settings.partitions, replication_factor=-1, config=config(topic)) for topic in TOPICS]


def create_topics(settings: Settings, deadline_s: float = 30) -> None:
    """Create the topics that Kafka lacks; those that exist stay as they are. Raises :class:`Transient` with Kafka's reason."""
    silent = logging.Logger("kafka", level=logging.CRITICAL + 1)  # a failure is raised
    admin = AdminClient({"bootstrap.servers": settings.kafka_address}, logger=silent)
    for topic, creation in admin.create_topics(topics(settings), operation_timeout=deadline_s, request_timeout=deadline_s).items():
        try:
            creation.result(timeout=deadline_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Transient(f"Kafka at {settings.kafka_address} does not create topic {topic}: {error.args[0].str()}") from error
