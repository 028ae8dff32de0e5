"""Settings are typed, read once, and a wrong one is one line that names variable, value and what is allowed."""

import pytest

from mliot.errors import SettingError
from mliot.settings import PREFIX, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("KAFKA_PORT", "abc", "valid integer"),
        ("KAFKA_PORT", "70000", "less than or equal to 65535"),
        ("GRACE_S", "-1", "greater than or equal to 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("MQTT_URL", "localhost:1883", "mqtt://host:port"),
        ("KAFKA_BOOTSTRAP", "kafka", "host:port"),
        ("ENDPOINT_URL", "ftp://x", "http://host:port"),
        ("FLEET_FAULTS", "spike,flood", "unknown flood; allowed are bad_json, drift, gap, spike, stuck"),
        ("INSTANCE", "a b", "pattern"),
    ],
)
def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingError) as refusal:
        Settings.read()
    assert f"{PREFIX}{name}={value!r}" in str(refusal.value)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_POSTGRES_DSN", "mysql://user:hush@host/db")
    with pytest.raises(SettingError) as refusal:
        Settings.read()
    assert "hush" not in str(refusal.value)
    assert "postgresql://" in str(refusal.value)


def test_addresses_fall_back_to_the_local_stack_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_KAFKA_PORT", "1234")
    settings = Settings.read()
    assert settings.kafka_address == "127.0.0.1:1234"
    assert settings.mqtt_address.startswith("mqtt://127.0.0.1:")
    monkeypatch.setenv("MLIOT_KAFKA_BOOTSTRAP", "kafka.example:9092")
    assert Settings.read().kafka_address == "kafka.example:9092"


def test_secrets_do_not_show_in_a_printed_settings_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_POSTGRES_DSN", "postgresql://user:hush@host:5432/db")
    settings = Settings.read()
    assert "hush" not in repr(settings)
    assert "hush" in settings.postgres_address
