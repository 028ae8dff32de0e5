"""Settings are typed, read once, and a wrong one is one line that names variable, value and what is allowed."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mliot.cli import build
from mliot.errors import SettingError
from mliot.settings import NO_SETTINGS, PREFIX, STACK_MARK, Settings
from stack import dagster
from warehouse import dbt


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


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


def test_a_password_within_an_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_MQTT_URL", "mqtt://user:hush@host")
    with pytest.raises(SettingError, match=r"^MLIOT_MQTT_URL=\(not shown\): must be mqtt://host:port$"):
        Settings.read()


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


@pytest.mark.parametrize(
    ("variable", "instead"),
    [
        ("MLIOT_KAFKA_PROT", "did you mean MLIOT_KAFKA_PORT?"),
        ("mliot_retention_day", "did you mean MLIOT_RETENTION_DAYS?"),
        ("MLIOT_POSTGRES_DNS", "did you mean MLIOT_POSTGRES_DSN?"),
        ("MLIOT_XYZZY", "docs/settings.md names those there are"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest_that_is(
    monkeypatch: pytest.MonkeyPatch, variable: str, instead: str
) -> None:
    monkeypatch.setenv(variable, "hush")
    with pytest.raises(SettingError) as refusal:
        Settings.read()
    assert str(refusal.value) == f"{variable.upper()}: there is no such setting; {instead}"


def test_a_misspelt_line_of_the_env_file_is_named_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_SED", "1")
    Path(".env").write_text("MLIOT_KAFKA_PORT=1234\nMLIOT_COMMIT=7\nOTHER_TOOL=1\n")
    with pytest.raises(SettingError) as refusal:
        Settings.read()
    assert str(refusal.value) == (
        "MLIOT_SED: there is no such setting; did you mean MLIOT_SEED?; "
        "MLIOT_COMMIT: there is no such setting; did you mean MLIOT_COMMIT_MS? (in .env)"
    )


def test_what_mliot_env_prints_and_what_the_stack_hands_down_is_no_misspelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_HOME", str(Path.cwd() / "home"))
    printed = CliRunner().invoke(build(), ["env"]).stdout.splitlines()
    assert printed
    for line in printed:
        monkeypatch.setenv(*line.split("=", 1))
    settings = Settings.read()
    for name in (*dbt.environment(settings), *dagster.environment(settings), *NO_SETTINGS, "_MLIOT_STACK", "MLIOTX"):
        monkeypatch.setenv(name, "1")
    assert Settings.read() == settings


@pytest.fixture
def below_a_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project folder with a stack's home and ``.env`` in it; the working folder is two levels below."""
    (tmp_path / ".mliot").mkdir()
    (tmp_path / ".env").write_text("MLIOT_KAFKA_PORT=1234\nMLIOT_SEED=2\n")
    below = tmp_path / "notebooks" / "today"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    return tmp_path


def test_the_home_and_its_env_file_are_the_nearest_above_the_working_folder(below_a_stack: Path) -> None:
    Path(".env").write_text("MLIOT_SEED=3\n")
    settings = Settings.read_of_stack()
    assert (settings.home, settings.kafka_port, settings.seed) == (below_a_stack / ".mliot", 1234, 3)


def test_a_home_that_is_set_is_the_one_that_counts(below_a_stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_HOME", "/srv/mliot")
    assert (Settings.read_of_stack().home, Settings.read().seed) == (Path("/srv/mliot"), 1)
    monkeypatch.delenv("MLIOT_HOME")
    Path(".env").write_text("MLIOT_HOME=/srv/other\n")
    assert (Settings.read_of_stack().home, Settings.read().seed) == (Path("/srv/other"), 1)


def test_a_misspelt_line_of_the_env_file_beside_the_home_is_named_with_its_path(below_a_stack: Path) -> None:
    (below_a_stack / ".env").write_text("MLIOT_SED=1\n")
    with pytest.raises(SettingError, match=rf"did you mean MLIOT_SEED\? \(in {below_a_stack}/\.env\)$"):
        Settings.read()


def test_without_a_home_what_needs_a_stack_says_so_and_what_makes_one_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings.read().home == Path(".mliot")
    with pytest.raises(SettingError) as refusal:
        Settings.read_of_stack()
    assert str(refusal.value) == (
        f"there is no stack: no .mliot in {tmp_path} or above it; go where 'mliot up' was called, or set MLIOT_HOME to its folder"
    )
    monkeypatch.setenv("MLIOT_POSTGRES_DSN", "postgresql://me@db:5432/x")
    assert Settings.read_of_stack().home == Path(".mliot")


@pytest.mark.parametrize(
    "command", [["status"], ["logs"], ["env"], ["down"], ["reset", "--yes"], ["audit"], ["deadletter", "list"], ["trace", "a"]]
)
def test_no_command_takes_another_folder_for_a_stack_that_is_stopped(command: list[str]) -> None:
    result = CliRunner().invoke(build(), command)
    assert isinstance(result.exception, SettingError)
    assert "there is no stack" in str(result.exception)


def test_a_process_of_a_stack_reads_no_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MLIOT_KAFKA_PORT=1234\nMLIOT_MISSPELT=1\n")
    monkeypatch.setenv(STACK_MARK, "/srv/mliot")
    assert Settings.read().kafka_port == Settings.model_fields["kafka_port"].default


def test_an_empty_variable_unsets_what_may_be_missing() -> None:
    Path(".env").write_text("MLIOT_USECASES=\nMLIOT_MEASUREMENTS=mine.yaml\n")
    settings = Settings.read()
    assert (settings.usecases, settings.measurements) == (None, Path("mine.yaml"))
