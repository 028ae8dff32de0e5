from configparser import RawConfigParser
from pathlib import Path

import pytest

from mliot.settings import Settings
from stack import postgres, supervise
from stack.environment import ADDRESSES, differences, environment, settings_in
from stack.health import Health
from stack.plan import Part, plan


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
        assert f"-m stack.guard {part.name} {part.stop} " in program["command"]
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


def test_environment_says_of_what_is_not_set_that_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ``.env`` of the folder in which the parts run, the project's, is another stack's."""
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("MLIOT_USECASES=theirs\nMLIOT_MEASUREMENTS=theirs.yaml\nMLIOT_REPLAY=theirs\nMLIOT_KAFKA_BOOTSTRAP=theirs:1\n")
    made = settings(tmp_path, replay="")
    assert environment(made).keys() == {f"MLIOT_{name.upper()}" for name in Settings.model_fields}
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    assert Settings() == made


def test_environment_makes_paths_absolute() -> None:
    made = environment(settings(Path(".mliot"), usecases=Path("mine"), measurements=Path("mine.yaml")))
    assert [Path(made[f"MLIOT_{name}"]).is_absolute() for name in ("HOME", "USECASES", "MEASUREMENTS")] == [True] * 3


def test_settings_are_read_back_from_a_process_whatever_this_ones_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = settings(tmp_path, kafka_port=1234, postgres_dsn="postgresql://me:p@db/x", measurements=tmp_path / "m.yaml")
    monkeypatch.setenv("MLIOT_MQTT_PORT", "7")
    monkeypatch.setenv("MLIOT_USECASES", "/elsewhere")
    assert settings_in({"PATH": "/bin", **environment(made)}) == made


def test_settings_that_differ_are_named_with_both_values_but_no_secret() -> None:
    there = settings(
        dashboard_port=18080, log_level="info", postgres_dsn="postgresql://me:hush@db/x", mqtt_url="mqtt://me:hush@broker:1883"
    )
    here = settings(dashboard_port=18081, usecases=Path("/srv/mine"), postgres_dsn="postgresql://me:hush2@db/x")
    found = differences(here, there)
    assert found == [
        "MLIOT_USECASES is '' there and '/srv/mine' here",
        "MLIOT_MQTT_URL is (not shown) there and '' here",
        "MLIOT_POSTGRES_DSN is (not shown) there and (not shown) here",
        "MLIOT_DASHBOARD_PORT is '18080' there and '18081' here",
    ]
    assert differences(here, here) == []


def test_an_address_out_of_mliot_env_is_no_difference(tmp_path: Path) -> None:
    postgres.make_password(settings(tmp_path))
    plain = settings(tmp_path, endpoint_port=1300)
    told = {name: getattr(plain, address) for name, address in ADDRESSES.items()}
    assert differences(settings(tmp_path, endpoint_port=1300, **told), plain) == []
    assert [name.split()[0] for name in differences(settings(tmp_path, endpoint_port=1301, **told), plain)] == [
        "MLIOT_ENDPOINT_URL",
        "MLIOT_ENDPOINT_PORT",
    ]
