"""An MQTT broker that speaks TLS only, and only with clients that show a certificate of its authority."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mliot.clock import Deadline, SystemClock
from mliot.errors import SettingError, Transient
from mliot.mqtt import MqttClient
from mliot.settings import HOST, Settings
from stack import artemis, health, jars
from stack.processes import marks
from tests.certificates import STORE_PASSWORD, authority, signed_by

pytestmark = pytest.mark.stack
START_S = 60
ANSWER_S = 20


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]) -> Iterator[Settings]:
    """The settings with which the broker is reached."""
    home = tmp_path_factory.mktemp("tls")
    port, metrics = free_ports(2)
    local = Settings(_env_file=None, home=home, mqtt_port=port, mqtt_metrics_port=metrics)
    ours, other = authority(), authority()
    keystore = signed_by(ours, "broker").write_keystore(home / "broker.p12")
    truststore = ours.write_truststore(home / "trusted.p12")
    signed_by(other, "device").write(home / "foreign.pem")
    other.write_certificate(home / "other-ca.pem")
    jars.fetch(["artemis"])
    artemis.prepare(local)
    described = artemis.folder(local) / "etc" / "broker.xml"
    tls = ";".join(
        (
            "sslEnabled=true;needClientAuth=true",
            f"keyStorePath={keystore};keyStorePassword={STORE_PASSWORD};keyStoreType=PKCS12",
            f"trustStorePath={truststore};trustStorePassword={STORE_PASSWORD};trustStoreType=PKCS12",
        )
    )
    plain = described.read_text()
    described.write_text(plain.replace("?protocols=MQTT;", f"?protocols=MQTT;{tls};"))
    assert described.read_text() != plain
    settings = Settings(
        _env_file=None,
        home=home,
        mqtt_url=f"mqtts://{HOST}:{port}",
        mqtt_ca=ours.write_certificate(home / "ca.pem"),
        mqtt_certificate=signed_by(ours, "platform").write(home / "platform.pem"),
    )
    variables = os.environ | artemis.environment(local) | marks(home, "artemis")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(artemis.command(local), env=variables, stdout=log, stderr=log)
    try:
        deadline = Deadline.after(SystemClock(), START_S)
        while not health.mqtt(settings).ok:
            assert process.poll() is None, (home / "log").read_text()
            assert not deadline.passed(), health.mqtt(settings)
        yield settings
    finally:
        process.kill()
        process.wait()


def why_away(settings: Settings) -> str:
    client = MqttClient(settings.mqtt_address, "somebody")
    client.start()
    try:
        with suppress(Transient):
            client.wait_ready(ANSWER_S if client.away is None else 3)
        return client.away or ""
    finally:
        client.stop(Deadline.after(SystemClock(), 1))


def test_who_knows_the_authority_and_shows_a_certificate_publishes(secured: Settings) -> None:
    got: list[bytes] = []
    client = MqttClient(secured.mqtt_address, "somebody", on_message=lambda message: got.append(message.payload))
    client.start(["a/topic"])
    client.wait_ready(ANSWER_S)
    client.publish("a/topic", b"hidden")
    deadline = Deadline.after(SystemClock(), ANSWER_S)
    while not got and not deadline.passed():
        client.drain(0.1)
    assert client.stop(Deadline.after(SystemClock(), ANSWER_S)) == 0
    assert got == [b"hidden"]


@pytest.mark.parametrize("ca", ["other-ca.pem", ""], ids=["another", "the system's"])
def test_a_wrong_authority_is_told(secured: Settings, ca: str) -> None:
    wrong = secured.model_copy(update={"mqtt_ca": secured.home / ca if ca else None})
    assert "certificate is not to be trusted" in why_away(wrong)
    assert "MLIOT_MQTT_CA" in why_away(wrong)
    assert "MLIOT_MQTT_CA" in health.mqtt(wrong).detail


@pytest.mark.parametrize("certificate", ["foreign.pem", ""], ids=["a foreign one", "none"])
def test_a_client_whose_certificate_is_missing_or_anothers_is_told(secured: Settings, certificate: str) -> None:
    away = why_away(secured.model_copy(update={"mqtt_certificate": secured.home / certificate if certificate else None}))
    assert "MLIOT_MQTT_CERTIFICATE" in away


def test_a_client_without_tls_gets_nothing(secured: Settings) -> None:
    assert why_away(secured.model_copy(update={"mqtt_url": secured.mqtt_url.replace("mqtts", "mqtt"), "mqtt_ca": None}))


def test_a_file_that_holds_no_certificate_is_named_with_its_setting(secured: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("mqtt_ca", "mqtt_certificate"):
        with pytest.raises(SettingError, match=f"MLIOT_{name.upper()}=.*empty.pem"):
            MqttClient(secured.model_copy(update={name: tmp_path / "empty.pem"}).mqtt_address, "somebody")
