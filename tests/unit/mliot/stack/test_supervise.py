from configparser import RawConfigParser
from pathlib import Path

import pytest

from mliot.settings import Settings
from mliot.stack import supervise
from mliot.stack.environment import environment
from mliot.stack.health import Health
from mliot.stack.plan import Part, plan


def settings(home: Path = Path("/srv/mliot"), **changes: object) -> Settings:
    return Settings(_env_file=None, home=home, **changes)


def parsed(made: Settings, parts: tuple[Part, ...]) -> RawConfigParser:
    parser = RawConfigParser(strict=True)
    parser.read_string(supervise.configuration(made, parts))
    return parser


def test_every_part_runs_under_guard_waits_for_up_and_is_started_again() -> None:
    parts = plan(settings())
    found = parsed(settings(), parts)
    for part in parts:
        program = found[f"program:{part.name}"]
        assert f"-m mliot.stack.guard {part.name} {part.stop} " in program["command"]
        assert (program["autostart"], program["autorestart"], program["killasgroup"]) == ("false", "true", "true")
        assert program["stdout_logfile"] == f"/srv/mliot/logs/{part.name}.log"
        assert program["stdout_logfile_maxbytes"] == "10MB"
    assert found["program:watch"]["autostart"] == "true"


def test_services_stop_before_servers_and_the_watch_last() -> None:
    found = parsed(settings(), plan(settings()))
    assert int(found["program:watch"]["priority"]) < int(found["group:servers"]["priority"]) < int(found["group:services"]["priority"])
    assert found["group:servers"]["programs"] == "artemis,kafka,postgres"


def test_external_part_is_left_to_its_owner() -> None:
    made = settings(kafka_bootstrap="kafka.example:9092")
    assert "program:kafka" not in parsed(made, plan(made))


def test_text_that_means_something_to_the_supervisor_stays_plain() -> None:
    part = Part("odd", "", ("run", "a b", "100%"), lambda _: Health("ok"), environment=lambda _: {"KEY": 'say "50%", \\ then'})
    program = parsed(settings(), (part,))["program:odd"]
    assert program["command"].endswith("run 'a b' 100%%")
    assert program["environment"] == '_MLIOT_PART="odd",KEY="say \\"50%%\\", \\\\ then"'


def test_configuration_holds_no_password_of_the_settings_but_dagsters_own_address() -> None:
    made = settings(postgres_dsn="postgresql://me:hidden@db:5432/x")
    found = parsed(made, plan(made))
    holders = [name for name in found.sections() if "hidden" in str(dict(found[name]))]
    assert holders == ["program:dagster-code", "program:dagster-web", "program:dagster-daemon"]


@pytest.mark.parametrize(("folder", "inside"), [("/srv/mliot", True), ("/srv/" + "deep/" * 30, False)])
def test_socket_lies_in_the_home_unless_its_path_is_too_long_for_one(folder: str, inside: bool) -> None:
    path = supervise.socket_path(settings(Path(folder)))
    assert path.is_relative_to(folder) is inside
    assert len(str(path)) < 104
    assert path == supervise.socket_path(settings(Path(folder)))


def test_environment_carries_every_setting_to_the_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = settings(
        tmp_path, kafka_port=1234, fleet_faults="gap,spike", postgres_dsn="postgresql://me:p@db/x", usecases=tmp_path, commit_ms=7
    )
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == made


def test_environment_makes_the_home_absolute() -> None:
    assert Path(environment(settings(Path(".mliot")))["MLIOT_HOME"]).is_absolute()
