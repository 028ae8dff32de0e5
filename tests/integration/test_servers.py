"""What the local servers promise to everything above them: what they acknowledged is there after ``kill -9``."""

import time
from collections.abc import Callable
from uuid import uuid4

import paho.mqtt.client as paho
import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from mliot.clock import Deadline, SystemClock
from mliot.messages import TOPICS
from mliot.settings import HOST
from stack import kafka, postgres
from stack.standalone import StandaloneServer

pytestmark = pytest.mark.stack
MESSAGES = 200


def wait_for(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = Deadline.after(SystemClock(), within_s)
    while not condition():
        assert not deadline.passed(), f"not within {within_s} s"
        time.sleep(0.02)


def subscriber(server: StandaloneServer, client_id: str, topic: str, received: list[str]) -> paho.Client:
    """A client with a session that outlives its connection; what it acknowledged is in ``received``."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: received.append(message.payload.decode())
    subscribed: list[int] = []
    client.on_subscribe = lambda _client, _data, mid, _reasons, _properties: subscribed.append(mid)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 600
    client.connect(HOST, server.settings.mqtt_port, clean_start=False, properties=properties)
    client.loop_start()
    client.subscribe(topic, qos=1)
    wait_for(lambda: bool(subscribed))
    return client


def leave(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_broker_delivers_after_kill_what_it_acknowledged_before(mqtt_server: StandaloneServer) -> None:
    topic, client_id, received = f"iot/{uuid4().hex}/frames", uuid4().hex, []
    leave(subscriber(mqtt_server, client_id, topic, received))
    publisher = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    publisher.connect(HOST, mqtt_server.settings.mqtt_port)
    publisher.loop_start()
    sent = [publisher.publish(topic, str(n), qos=1) for n in range(MESSAGES)]
    for one in sent:
        one.wait_for_publish(20)
    leave(publisher)
    before = mqtt_server.pid
    mqtt_server.kill()
    mqtt_server.start()
    assert mqtt_server.pid != before
    client = subscriber(mqtt_server, client_id, topic, received)
    wait_for(lambda: len(received) >= MESSAGES)
    leave(client)
    assert received == [str(n) for n in range(MESSAGES)]


def test_dot_in_a_topic_level_stays_a_dot(mqtt_server: StandaloneServer) -> None:
    received: list[str] = []
    client = subscriber(mqtt_server, uuid4().hex, "iot/+/frames", received)
    client.publish("iot/room.1/frames", "kept", qos=1)
    wait_for(lambda: "kept" in received)
    leave(client)


def test_kafka_keeps_acknowledged_records_and_its_topics_over_kill(kafka_server: StandaloneServer) -> None:
    key = uuid4().bytes
    producer = Producer({"bootstrap.servers": kafka_server.settings.kafka_address, "acks": "all"})
    for n in range(MESSAGES):
        producer.produce("stream-frame", str(n).encode(), key)
    assert producer.flush(20) == 0
    kafka_server.kill()
    kafka_server.start()
    consumer = Consumer({"bootstrap.servers": kafka_server.settings.kafka_address, "group.id": key.hex(), "auto.offset.reset": "earliest"})
    topics = consumer.list_topics(timeout=10).topics
    assert set(TOPICS) <= set(topics)
    consumer.subscribe(["stream-frame"])
    found: list[bytes] = []

    def all_read() -> bool:
        found.extend(record.value() for record in consumer.consume(MESSAGES, timeout=1) if record.key() == key)
        return len(found) >= MESSAGES

    wait_for(all_read)
    consumer.close()
    assert found == [str(n).encode() for n in range(MESSAGES)]


def test_topics_are_made_once(kafka_server: StandaloneServer) -> None:
    kafka.create_topics(kafka_server.settings)
    consumer = Consumer({"bootstrap.servers": kafka_server.settings.kafka_address, "group.id": "topics"})
    found = consumer.list_topics(timeout=10).topics
    assert {len(found[topic].partitions) for topic in TOPICS} == {kafka_server.settings.partitions}
    consumer.close()


def test_postgres_keeps_a_commit_over_kill_and_makes_its_tables_once(postgres_server: StandaloneServer) -> None:
    name = uuid4().hex
    with psycopg.connect(postgres_server.settings.postgres_address) as connection:
        connection.execute("insert into mliot.position values (%s, 'topic', 0, 7)", [name])
    postgres_server.kill()
    postgres_server.start()
    postgres.create_store(postgres_server.settings)
    with psycopg.connect(postgres_server.settings.postgres_address) as connection:
        row = connection.execute("select next_offset from mliot.position where consumer = %s", [name]).fetchone()
        superuser = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    assert row == (7,)
    assert superuser == (False,)


def test_postgres_refuses_whoever_does_not_know_the_password(postgres_server: StandaloneServer) -> None:
    port = postgres_server.settings.postgres_port
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://mliot:guessed@127.0.0.1:{port}/mliot")
    password = postgres_server.settings.postgres_password_path
    assert password.stat().st_mode & 0o077 == 0
