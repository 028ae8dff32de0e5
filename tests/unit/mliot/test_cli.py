import sys
from io import StringIO

import pytest
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from mliot.cli import build, main
from mliot.settings import Settings
from stack.cli import _span, addresses, status_table, without_password
from stack.plan import plan
from stack.status import PartStatus


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A home folder without a stack, and no settings but those of the test."""
    monkeypatch.setenv("MLIOT_HOME", f"{tmp_path}/home")
    monkeypatch.chdir(str(tmp_path))


def test_help_names_every_command_and_the_exit_codes() -> None:
    text = CliRunner().invoke(build(), ["--help"]).stdout
    for command in ("up", "down", "status", "logs", "env", "reset", "trace", "audit", "deadletter"):
        assert f" {command} " in text
    assert "Exit codes" in text


@pytest.mark.parametrize("command", ["up", "down", "status", "logs", "env", "reset"])
def test_every_command_of_the_stack_says_what_it_does(command: str) -> None:
    result = CliRunner().invoke(build(), [command, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout) > 200


def test_wrong_setting_is_one_line_and_exit_code_2(away: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLIOT_KAFKA_PORT", "many")
    monkeypatch.setattr(sys, "argv", ["mliot", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("mliot: MLIOT_KAFKA_PORT='many': ")
    assert told.count("\n") == 1


def test_env_quotes_for_the_shell(away: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIOT_POSTGRES_DSN", "postgresql://me:$(rm);'x@db:5432/x")
    lines = CliRunner().invoke(build(), ["env"]).stdout.splitlines()
    assert """MLIOT_POSTGRES_DSN='postgresql://me:$(rm);'"'"'x@db:5432/x'""" in lines
    assert "MLIOT_KAFKA_BOOTSTRAP=127.0.0.1:19092" in lines


def test_reset_deletes_only_what_a_stack_made(away: None, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("MLIOT_HOME", str(tmp_path))
    result = CliRunner().invoke(build(), ["reset", "--yes"])
    assert "no stack was ever started there" in str(result.exception)
    assert "nothing" in CliRunner().invoke(build(), ["reset", "--yes"], env={"MLIOT_HOME": f"{tmp_path}/none"}).stdout


def test_address_for_people_has_no_password() -> None:
    assert without_password("postgresql://me:secret@127.0.0.1:5432/x") == "postgresql://me@127.0.0.1:5432/x"
    assert without_password("postgresql://127.0.0.1:5432/x") == "postgresql://127.0.0.1:5432/x"
    hidden = "postgresql://me@a:1,b:2/x?sslmode=require&sslpassword=secret&password=secret&connect_timeout=3"
    assert without_password(hidden) == "postgresql://me@a:1,b:2/x?sslmode=require&connect_timeout=3"
    assert without_password("127.0.0.1:19092") == "127.0.0.1:19092"


def test_no_address_that_up_prints_has_a_password() -> None:
    given = {name: f"http://me:secret@host:1/{name}" for name in ("endpoint_url", "dagster_url", "dashboard_url")}
    settings = Settings(
        _env_file=None, mqtt_url="mqtt://me:secret@host:1883", postgres_dsn=SecretStr("postgresql://me:secret@host:1/x"), **given
    )
    out = StringIO()
    Console(file=out, width=200).print(addresses(settings, plan(settings)))
    assert out.getvalue().count("me@host") == 5
    assert "secret" not in out.getvalue()


def test_a_remark_from_outside_is_no_markup() -> None:
    one = PartStatus("store", "", "away", "[red]no[/red] [/]", None, None, None, None, "", None, None)
    out = StringIO()
    Console(file=out, width=120).print(status_table([one]))
    assert "[red]no[/red] [/]" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (5, "5 s"), (65, "1 min"), (3700, "1 h 1 min")])
def test_spans_read_as_people_say_them(seconds: int | None, text: str) -> None:
    assert _span(seconds) == text
