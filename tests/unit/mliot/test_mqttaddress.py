"""A broker's address: user and password as they were meant, and client ids that nobody else can use."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mliot.mqttaddress import PLATFORM_USER, BrokerAddress, reserved_suffix
from mliot.settings import Settings
from streaming.intake.decoders import load_decoders
from streaming.services.bridge import subscriptions


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_user_and_password_are_percent_decoded(user: str, password: str) -> None:
    address = BrokerAddress.of(f"mqtt://{quote(user, safe='')}:{quote(password, safe='')}@broker:1884")
    assert (address.host, address.port, address.user, address.password) == ("broker", 1884, user, password)
    assert address.shown == "broker:1884"


def test_a_password_with_an_at_sign() -> None:
    assert BrokerAddress.of("mqtts://me:p%40ss%2Fword@broker") == BrokerAddress("broker", 8883, True, "me", "p@ss/word")


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(BrokerAddress.of("mqtt://me:hush@broker"))


def test_client_ids_are_reserved_at_the_local_broker_alone() -> None:
    local = BrokerAddress.of(f"mqtt://{PLATFORM_USER}:hush@127.0.0.1:11883")
    assert local.reserved("mliot-bridge-0") == f"mliot-bridge-0-{reserved_suffix('hush')}"
    assert "hush" not in local.reserved("mliot-bridge-0")
    for other in ("mqtt://127.0.0.1:11883", "mqtt://me:hush@broker:1883"):
        assert BrokerAddress.of(other).reserved("mliot-bridge-0") == "mliot-bridge-0"


@pytest.mark.parametrize("share", ["", "bridges"])
def test_a_share_is_reserved_like_a_client_id(share: str) -> None:
    made = Settings(_env_file=None, mqtt_share=share, mqtt_password="hush")  # type: ignore[arg-type]
    lead = f"$share/bridges-{reserved_suffix('hush')}/" if share else ""
    decoders = load_decoders()
    assert subscriptions(made, decoders) == tuple(lead + topic for topic in (*decoders.subscriptions, "iot/+/command/ack"))


def test_files_of_tls_reach_the_connection_whatever_their_names_hold(tmp_path: Path) -> None:
    for name in ("c a&=?.pem", "client.pem"):
        (tmp_path / name).write_text("")
    settings = Settings(
        _env_file=None, mqtt_url="mqtts://me@broker:8883", mqtt_ca=tmp_path / "c a&=?.pem", mqtt_certificate=tmp_path / "client.pem"
    )
    address = BrokerAddress.of(settings.mqtt_address)
    assert (address.ca, address.certificate, address.key) == (str(tmp_path / "c a&=?.pem"), str(tmp_path / "client.pem"), "")
    assert address.shown == "broker:8883"
    assert BrokerAddress.of("mqtts://broker:8883") == BrokerAddress("broker", 8883, tls=True)


def test_an_address_with_files_in_it_is_refused_and_so_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="MLIOT_MQTT_CA"):
        Settings(_env_file=None, mqtt_url="mqtts://broker:8883?ca=x")
    with pytest.raises(ValidationError, match="mqtt_ca"):
        Settings(_env_file=None, mqtt_ca=tmp_path / "none.pem")
