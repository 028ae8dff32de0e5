"""A broker's address: user and password as they were meant, and client ids that nobody else can use."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
