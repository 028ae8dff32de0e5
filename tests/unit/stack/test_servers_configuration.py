"""The servers' configuration as text: what must be in it for one node on one machine."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from mliot.errors import SettingError
from mliot.messages import CHECKPOINT_TOPIC, TOPICS
from mliot.mqttaddress import PLATFORM_USER
from mliot.settings import Settings
from stack import artemis, dagster, kafka, postgres

CORE = "{urn:activemq:core}"


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **changes)


def kafka_properties(made: Settings) -> dict[str, str]:
    return dict(line.split("=", 1) for line in kafka.properties(made).splitlines())


def test_kafka_listens_on_loopback_at_the_ports_of_the_settings() -> None:
    found = kafka_properties(settings(kafka_port=1234, kafka_controller_port=1235))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:1234,CONTROLLER://127.0.0.1:1235"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1234"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:1235"


def test_kafka_keeps_offsets_as_long_as_frames() -> None:
    assert kafka_properties(settings(retention_days=3))["offsets.retention.minutes"] == str(3 * 24 * 60)


def test_every_internal_topic_of_kafka_has_one_replica() -> None:
    found = kafka_properties(settings())
    assert {value for key, value in found.items() if key.endswith(("replication.factor", "min.isr"))} == {"1"}


def test_topics_are_kept_for_the_retention_and_the_checkpoint_is_compacted() -> None:
    made = {topic.topic: topic for topic in kafka.topics(settings(retention_days=1, partitions=7))}
    assert set(made) == set(TOPICS)
    assert {topic.num_partitions for topic in made.values()} == {7}
    checkpoint = made.pop(CHECKPOINT_TOPIC)
    assert checkpoint.config["cleanup.policy"] == "compact"
    assert {topic.config["retention.ms"] for topic in made.values()} == {"86400000"}


def test_java_is_told_its_classes_by_environment_and_its_heap_by_argument() -> None:
    assert "-Xmx512m" in kafka.command(settings())
    assert "-Xmx256m" in artemis.command(settings())
    assert "kafka-clients" in kafka.environment(settings())["CLASSPATH"]
    assert "artemis-mqtt-protocol" in artemis.environment(settings())["CLASSPATH"]


@pytest.mark.parametrize("home", ["/srv/mliot", "/srv/R&D <lab>"])
def test_broker_keeps_messages_pages_and_takes_mqtt_wildcards(home: str) -> None:
    core = ElementTree.fromstring(artemis.broker_xml(settings(home=Path(home), mqtt_port=1883), "hush"))[0]
    assert core.findtext(f"{CORE}journal-directory") == f"{home}/artemis/data/journal"
    assert core.findtext(f"{CORE}persistence-enabled") == "true"
    wildcards = {child.tag.removeprefix(CORE): child.text for child in core.find(f"{CORE}wildcard-addresses")}
    assert wildcards == {"routing-enabled": "true", "delimiter": "/", "any-words": "#", "single-word": "+"}
    acceptors = [acceptor.text for acceptor in core.find(f"{CORE}acceptors")]
    assert len(acceptors) == 1
    assert acceptors[0].startswith("tcp://127.0.0.1:1883?protocols=MQTT")
    setting = core.find(f"{CORE}address-settings/{CORE}address-setting")
    assert setting.findtext(f"{CORE}address-full-policy") == "PAGE"
    assert setting.findtext(f"{CORE}max-delivery-attempts") == "-1"


def test_a_broker_of_a_cluster_knows_the_others_and_listens_to_them_on_loopback() -> None:
    made = settings(mqtt_port=1883, mqtt_cluster_port=1884, mqtt_cluster="127.0.0.1:1885, broker-3:1884", mqtt_password="hush")
    core = ElementTree.fromstring(artemis.broker_xml(made, "hush"))[0]
    connectors = {connector.get("name"): connector.text for connector in core.find(f"{CORE}connectors")}
    assert connectors == {"self": "tcp://127.0.0.1:1884", "other-0": "tcp://127.0.0.1:1885", "other-1": "tcp://broker-3:1884"}
    connection = core.find(f"{CORE}cluster-connections/{CORE}cluster-connection")
    assert [other.text for other in connection.find(f"{CORE}static-connectors")] == ["other-0", "other-1"]
    assert [acceptor.text.split("?")[0] for acceptor in core.find(f"{CORE}acceptors")] == ["tcp://127.0.0.1:1883", "tcp://127.0.0.1:1884"]
    assert [listener.setting for listener in artemis.listeners(made)] == ["mqtt_port", "mqtt_metrics_port", "mqtt_cluster_port"]


def test_a_broker_without_others_stands_alone_and_one_that_they_cannot_reach_is_refused() -> None:
    alone = settings(mqtt_port=1883, mqtt_cluster_port=1884)
    assert "cluster-connection" not in artemis.broker_xml(alone, "hush")
    assert [listener.setting for listener in artemis.listeners(alone)] == ["mqtt_port", "mqtt_metrics_port"]
    with pytest.raises(SettingError, match="MLIOT_MQTT_CLUSTER_PORT"):
        artemis.listeners(settings(mqtt_cluster="127.0.0.1:1885", mqtt_password="hush"))
    with pytest.raises(SettingError, match="MLIOT_MQTT_PASSWORD"):
        artemis.listeners(settings(mqtt_cluster="127.0.0.1:1885", mqtt_cluster_port=1884))


def test_the_brokers_password_is_made_once_for_its_owner_alone_and_stands_on_no_command_line(tmp_path: Path) -> None:
    made = settings(home=tmp_path)
    assert made.mqtt_address == made.mqtt_open_address
    artemis.prepare(made)
    password = artemis.make_password(made)
    assert len(password) >= 24
    assert made.mqtt_address == f"mqtt://{PLATFORM_USER}:{password}@127.0.0.1:11883"
    files = [made.mqtt_password_path, *(artemis.folder(made) / "etc").iterdir()]
    assert {path.name for path in files} == {
        "password",
        "broker.xml",
        "login.config",
        "users.properties",
        "roles.properties",
        "jolokia-access.xml",
        "jolokia.properties",
    }
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert password not in " ".join(artemis.command(made))
    assert password not in repr(made)


def test_devices_may_not_send_commands_and_have_nothing_to_do_with_the_brokers_own_addresses() -> None:
    core = ElementTree.fromstring(artemis.broker_xml(settings(), "hush"))[0]
    allowed = {
        setting.get("match"): {right.get("type") for right in setting if "devices" in right.get("roles", "")}
        for setting in core.find(f"{CORE}security-settings")
    }
    assert {"send", "consume"} <= allowed["#"]
    assert "send" not in allowed["iot/+/command"]
    assert not allowed["$sys.mqtt.sessions"]
    assert not any("manage" in rights or "deleteAddress" in rights for rights in allowed.values())
    assert core.findtext(f"{CORE}security-enabled") == "true"
    assert "hush" not in artemis.broker_xml(settings(), "hush")


def test_postgres_listens_on_loopback_only_and_needs_no_socket_file() -> None:
    lines = postgres.configuration(settings(postgres_port=5433)).splitlines()
    assert {"listen_addresses = '127.0.0.1'", "port = 5433", "unix_socket_directories = ''"} <= set(lines)


def test_password_is_made_once_for_its_owner_alone_and_found_by_the_settings(tmp_path: Path) -> None:
    made = settings(home=tmp_path)
    password = postgres.make_password(made)
    assert len(password) >= 24
    assert postgres.make_password(made) == password
    assert made.postgres_password_path.stat().st_mode & 0o777 == 0o600
    assert made.postgres_address == f"postgresql://mliot:{password}@127.0.0.1:15432/mliot"


def test_dagster_keeps_its_runs_in_postgres_through_psycopg2_and_its_file_holds_no_password(tmp_path: Path) -> None:
    made = settings(home=tmp_path, postgres_dsn="postgresql://me:secret@db:5432/x")
    instance = yaml.safe_load(dagster.instance(made))
    assert instance["storage"] == {"postgres": {"postgres_url": {"env": dagster.STORAGE_VARIABLE}}}
    assert dagster.environment(made)[dagster.STORAGE_VARIABLE] == "postgresql+psycopg2://me:secret@db:5432/x"
    assert "secret" not in dagster.instance(made)
    dagster.prepare(made)
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == dagster.instance(made)


def test_dagster_finds_its_code_server() -> None:
    made = settings(dagster_code_port=4000)
    location = yaml.safe_load(dagster.workspace(made))["load_from"][0]["grpc_server"]
    assert (location["host"], location["port"]) == ("127.0.0.1", 4000)
    assert "4000" in dagster.code_server(made)


def test_dagster_gives_a_run_time_to_start_on_a_busy_machine() -> None:
    made = settings()
    monitoring = yaml.safe_load(dagster.instance(made))["run_monitoring"]
    assert monitoring == {"enabled": True, "start_timeout_seconds": dagster.RUN_START_S}
    assert int(dagster.environment(made)["DAGSTER_GRPC_TIMEOUT_SECONDS"]) == dagster.RUN_START_S > 60


@pytest.mark.parametrize("first", [0x00, 0xF8, 0xFB, 0xFF])
def test_a_cluster_id_is_never_taken_for_an_option(first: int) -> None:
    made = kafka.cluster_id(bytes([first] * 16))
    assert len(made) == 22
    assert not made.startswith("-")
