"""The local stack as its users meet it: through the command line, with real servers, and with processes that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from mliot.clock import Deadline, SystemClock
from mliot.mqttaddress import PLATFORM_USER
from mliot.settings import Settings
from stack import lifecycle, supervise
from stack.environment import environment
from stack.plan import plan
from stack.processes import of_stack
from stack.status import healthy, survey

pytestmark = pytest.mark.stack
SERVERS = ("artemis", "kafka", "postgres")
FreePorts = Callable[[int], list[int]]


def make_settings(free_ports: FreePorts) -> Iterator[Settings]:
    """Settings of a stack of its own; whatever a failed test leaves of it is ended."""
    names = [name for name in Settings.model_fields if name.endswith("_port") and name != "metrics_port"]
    with tempfile.TemporaryDirectory(prefix="mliot-test-") as folder:
        Path(folder).chmod(0o711)
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        made = Settings(_env_file=None, home=Path(folder) / "home", metrics_port=32_100, **ports)
        yield made
        lifecycle.down(made)


@pytest.fixture
def settings(free_ports: FreePorts) -> Iterator[Settings]:
    """A stack that this test may kill."""
    yield from make_settings(free_ports)


@pytest.fixture(scope="module")
def shared(free_ports: FreePorts) -> Iterator[Settings]:
    """A stack whose PostgreSQL runs, for tests that only look at it."""
    for made in make_settings(free_ports):
        assert mliot(made, "up", "postgres").returncode == 0
        yield made


def mliot(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment(settings)
    return subprocess.run(
        (sys.executable, "-m", "mliot.cli", *arguments), env=variables, capture_output=True, text=True, timeout=120, check=False
    )


def start_in_foreground(settings: Settings, *parts: str) -> subprocess.Popen[str]:
    """``mliot up --foreground``, waited for until it is up."""
    command = (sys.executable, "-m", "mliot.cli", "up", "--foreground", *parts)
    starter = subprocess.Popen(
        command, env=os.environ | environment(settings), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert starter.stderr is not None
    told = []
    for line in starter.stderr:
        told.append(line)
        if "Ctrl-C" in line:
            return starter
    raise AssertionError(f"it did not come up: {''.join(told)}")


def processes(settings: Settings) -> list[psutil.Process]:
    return of_stack(str(settings.home.absolute()))


def wait_for(condition: Callable[[], bool], within_s: float = 30) -> None:
    deadline = Deadline.after(SystemClock(), within_s)
    while not condition():
        assert not deadline.passed(), f"not within {within_s} s"
        time.sleep(0.05)


def pid_of(settings: Settings, part: str) -> int:
    supervisor = supervise.running(settings)
    assert supervisor is not None
    return supervisor.parts()[part].pid


def test_three_servers_come_up_are_well_come_back_after_kill_and_go_down(settings: Settings) -> None:
    up = mliot(settings, "up", *SERVERS)
    assert up.returncode == 0, up.stderr
    assert settings.mqtt_open_address in up.stdout
    assert PLATFORM_USER not in up.stdout
    assert settings.home.stat().st_mode & 0o007 == 0
    with psycopg.connect(settings.postgres_address) as connection:
        connection.execute("insert into mliot.position values ('test', 'topic', 0, 7)")

    status = mliot(settings, "status", "--json")
    told = json.loads(status.stdout)
    assert (status.returncode, told["healthy"]) == (0, True)
    states = {part["name"]: part["state"] for part in told["parts"]}
    assert {states.pop(name) for name in SERVERS} == {"ok"}
    assert set(states.values()) == {"stopped"}

    for name in SERVERS:
        before = pid_of(settings, name)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda name=name, before=before: pid_of(settings, name) not in (0, before))
    wait_for(lambda: healthy(survey(settings)))
    assert {part.name for part in survey(settings) if part.crashes} == set(SERVERS)
    with psycopg.connect(settings.postgres_address) as connection:
        assert connection.execute("select next_offset from mliot.position").fetchone() == (7,)

    assert mliot(settings, "down").stdout == "down\n"
    assert processes(settings) == []
    assert mliot(settings, "down").stdout == "nothing was running\n"
    assert mliot(settings, "status").returncode == 1


def test_data_survives_down_and_up_and_is_gone_after_reset(settings: Settings) -> None:
    mliot(settings, "up", "postgres")
    with psycopg.connect(settings.postgres_address) as connection:
        connection.execute("insert into mliot.position values ('test', 'topic', 0, 7)")
    refused = mliot(settings, "reset", "--yes")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    mliot(settings, "down")
    assert mliot(settings, "up", "postgres").returncode == 0
    with psycopg.connect(settings.postgres_address) as connection:
        assert connection.execute("select count(*) from mliot.position").fetchone() == (1,)
    supervisor = supervise.running(settings)
    assert supervisor is not None
    supervisor.shutdown()
    lifecycle.down(settings)  # of one that is going down already
    assert processes(settings) == []
    assert mliot(settings, "reset").returncode == 1  # nobody answers its question
    assert settings.home.exists()
    assert mliot(settings, "reset", "--yes").returncode == 0
    assert not settings.home.exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stack_ends_with_its_starter_on_a_signal(settings: Settings, sent: signal.Signals) -> None:
    starter = start_in_foreground(settings, "postgres")
    starter.send_signal(sent)
    starter.communicate(timeout=60)
    assert processes(settings) == []


def test_stack_ends_when_its_starter_is_killed(settings: Settings) -> None:
    starter = start_in_foreground(settings, "postgres", "artemis")
    starter.kill()
    starter.communicate()
    wait_for(lambda: processes(settings) == [])


def test_stack_ends_when_its_supervisor_is_killed(settings: Settings) -> None:
    mliot(settings, "up", "postgres", "artemis")
    supervisor = supervise.running(settings)
    assert supervisor is not None
    os.kill(supervisor.pid(), signal.SIGKILL)
    wait_for(lambda: processes(settings) == [])
    assert "the stack ended without being told to" in mliot(settings, "status").stdout
    assert mliot(settings, "up", "postgres").returncode == 0  # and it can be started again
    assert mliot(settings, "down").returncode == 0
    assert "without being told to" not in mliot(settings, "status").stdout


def test_stack_ends_when_supervisor_and_watch_are_killed_at_once(settings: Settings) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux ends a process with its parent")
    mliot(settings, "up", "postgres", "artemis")
    supervisor = supervise.running(settings)
    assert supervisor is not None
    watch = next(process for process in processes(settings) if "stack.watch" in process.cmdline())
    pid = supervisor.pid()
    os.kill(pid, signal.SIGSTOP)  # or it would start the watch again
    watch.kill()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: processes(settings) == [])


def test_watch_that_is_killed_is_started_again(shared: Settings) -> None:
    watch = next(process for process in processes(shared) if "stack.watch" in process.cmdline())
    watch.kill()
    wait_for(lambda: any("stack.watch" in " ".join(one.cmdline()) and one.pid != watch.pid for one in processes(shared)))


def test_taken_port_is_named_with_the_variable_that_moves_it_and_nothing_starts(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.postgres_port))
        other.listen()
        refused = mliot(settings, "up", "postgres")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"mliot: port {settings.postgres_port} of postgres is taken by ")
    assert "MLIOT_POSTGRES_PORT" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert processes(settings) == []


def test_server_of_the_users_own_takes_the_parts_place(settings: Settings) -> None:
    mine = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    by_name = {part.name: part for part in plan(mine)}
    assert by_name["kafka"].external
    told = json.loads(mliot(mine, "status", "--json").stdout)
    kafka = next(part for part in told["parts"] if part["name"] == "kafka")
    assert (kafka["state"], kafka["pid"], told["healthy"]) == ("away", None, False)


def test_addresses_of_env_name_the_running_servers_and_do_not_make_them_external(shared: Settings) -> None:
    printed = dict(line.split("=", 1) for line in mliot(shared, "env").stdout.splitlines())
    assert set(printed) == {
        f"MLIOT_{name}" for name in ("MQTT_URL", "KAFKA_BOOTSTRAP", "POSTGRES_DSN", "ENDPOINT_URL", "DAGSTER_URL", "DASHBOARD_URL")
    }
    with psycopg.connect(printed["MLIOT_POSTGRES_DSN"]) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    given = {"kafka_bootstrap": "KAFKA_BOOTSTRAP", "mqtt_url": "MQTT_URL", "postgres_dsn": "POSTGRES_DSN"}
    known = shared.model_dump() | {field: printed[f"MLIOT_{name}"] for field, name in given.items()}
    known = Settings(_env_file=None, **known)
    assert not any(part.external for part in plan(known))
    assert mliot(known, "up", "postgres").returncode == 0  # nor do they make other settings


def test_up_refuses_a_stack_that_runs_with_other_settings_and_names_them(shared: Settings) -> None:
    other = shared.model_copy(update={"dashboard_port": 1024, "mqtt_url": "mqtt://me:hush@broker:1883"})
    refused = mliot(other, "up", "postgres")
    assert (refused.returncode, refused.stderr) == (
        2,
        "mliot: the stack runs with other settings: MLIOT_MQTT_URL is '' there and (not shown) here, MLIOT_DASHBOARD_PORT is "
        f"'{shared.dashboard_port}' there and '1024' here; to take these over: mliot down && mliot up\n",
    )


def test_logs_show_what_a_part_wrote(shared: Settings) -> None:
    assert "ready to accept connections" in mliot(shared, "logs", "postgres").stdout
    unknown = mliot(shared, "logs", "mongo")
    assert unknown.returncode == 2
    assert "postgres" in unknown.stderr
