"""The compose file, the image and what they mount: every command, port, setting, path and metric in them exists."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from mliot.cli import build
from mliot.services import SERVICES, ServiceStatus, metrics_port
from mliot.settings import HOST, Settings
from stack import artemis, kafka
from stack.jars import locked
from stack.plan import plan

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
OURS: dict[str, str] = COMPOSE["services"]["mliot"]["environment"]


@pytest.fixture
def settings() -> Settings:
    """The settings as the container has them."""
    given = {name.removeprefix("MLIOT_").lower(): re.sub(r"\$\{[^}]*\}", "secret", value) for name, value in OURS.items()}
    return Settings(_env_file=None, **given)


def environment(service: str) -> dict[str, str]:
    found: dict[str, str] = COMPOSE["services"][service]["environment"]
    return found


def test_compose_file_follows_the_compose_specification() -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text("utf-8"))
    jsonschema.validate(COMPOSE, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(COMPOSE | {"services": {"mliot": {"comand": []}}}, schema)


def test_every_variable_of_ours_is_a_setting() -> None:
    assert {name.removeprefix("MLIOT_").lower() for name in OURS} <= set(Settings.model_fields)


def test_the_containers_take_the_place_of_the_local_servers(settings: Settings) -> None:
    assert [part.name for part in plan(settings) if part.external] == ["artemis", "kafka", "postgres"]


def test_addresses_are_those_on_which_the_containers_listen(settings: Settings) -> None:
    assert f"PLAINTEXT://{settings.kafka_address}," in environment("kafka")["KAFKA_LISTENERS"]
    assert settings.mqtt_address.endswith(f"@{HOST}:1883")
    assert f"@{HOST}:5432/{environment('postgres')['POSTGRES_DB']}" in settings.postgres_address


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_everything_listens_on_loopback(service: str) -> None:
    text = json.dumps(COMPOSE["services"][service])
    assert "0.0.0.0" not in text
    assert "ports" not in COMPOSE["services"][service]


def test_kafka_is_the_locked_version_and_is_set_as_the_local_one(settings: Settings) -> None:
    version = next(jar.version for jar in locked("kafka") if jar.artifact == "kafka-clients")
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{version}"
    local = dict(line.split("=", 1) for line in kafka.properties(settings).splitlines())
    given = {key.removeprefix("KAFKA_").replace("_", ".").lower(): value for key, value in environment("kafka").items()}
    own = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs", "listener.security.protocol.map"}
    assert {key: value for key, value in given.items() if key not in own} == {key: local[key] for key in given if key not in own}


def test_broker_is_the_locked_version_and_is_set_as_the_local_one() -> None:
    version = next(jar.version for jar in locked("artemis") if jar.artifact == "artemis-server")
    assert COMPOSE["services"]["artemis"]["image"] == f"apache/activemq-artemis:{version}"
    assert (ROOT / "deploy/artemis/broker.xml").read_text("utf-8") == artemis.container_xml()
    broker = environment("artemis")
    assert OURS["MLIOT_MQTT_URL"] == f"mqtt://{broker['ARTEMIS_USER']}:{broker['ARTEMIS_PASSWORD']}@{HOST}:1883"


def test_mounted_files_exist() -> None:
    mounted = [volume.split(":")[0] for one in COMPOSE["services"].values() for volume in one.get("volumes", ())]
    named = set(COMPOSE["volumes"])
    assert all((ROOT / path).exists() for path in mounted if path.startswith("."))
    assert {path for path in mounted if not path.startswith(".")} == named


def dockerfile() -> list[str]:
    return (ROOT / "deploy/Dockerfile").read_text("utf-8").splitlines()


def test_image_copies_what_exists_and_every_package() -> None:
    copied = {source for line in dockerfile() if line.startswith("COPY ") for source in line.split()[1:-1]}
    assert all((ROOT / source).exists() for source in copied)
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")} - {"tests", "benchmarks"}
    assert packages | {"dbt"} <= copied
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"!{source}" for source in copied} <= set(ignored)


def test_commands_are_those_of_the_command_line() -> None:
    image = json.loads(next(line for line in dockerfile() if line.startswith("CMD ")).removeprefix("CMD "))
    health = COMPOSE["services"]["mliot"]["healthcheck"]["test"][1:]
    for command, *arguments in (image, COMPOSE["services"]["mliot"]["command"], health):
        assert command == "mliot"
        shown = CliRunner().invoke(build(), [arguments[0], "--help"])
        assert shown.exit_code == 0
        assert all(option in shown.stdout for option in arguments[1:])


def test_prometheus_asks_every_service_and_the_endpoint(settings: Settings) -> None:
    jobs: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    assert targets["services"] == [f"{HOST}:{metrics_port(settings, service)}" for service in SERVICES]
    assert targets["endpoint"] == [settings.endpoint_address.removeprefix("http://")]


def test_grafana_shows_metrics_that_the_services_have_and_asks_the_prometheus_there_is() -> None:
    status = ServiceStatus("bridge")
    status.count({"read": 1})
    status.lag(0)
    known = {sample.name for metric in status.collect() for sample in metric.samples}
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/mliot.json").read_text("utf-8"))
    asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in re.findall(r"mliot_\w+", target["expr"])}
    assert asked == known
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text("utf-8"))["datasources"][0]
    assert f"--web.listen-address={source['url'].removeprefix('http://')}" in COMPOSE["services"]["prometheus"]["command"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
