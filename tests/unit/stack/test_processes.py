"""What ties a process to its stack: marks, guard and watch, with real (small) processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mliot.clock import Deadline, SystemClock
from stack import watch
from stack.guard import wrap
from stack.processes import belongs, end, marks, of_stack

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent; elsewhere the watch does")


def wait_for(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = Deadline.after(SystemClock(), within_s)
    while not condition():
        assert not deadline.passed(), f"not within {within_s} s"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """What is started here heeds SIGINT and SIGTERM, although what a process ignores is inherited.

    A shell starts a background job with SIGINT ignored, and Dagster, once used in this process, gives SIGTERM what SIGINT has.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a process with the marks of part ``name`` of a stack in ``tmp_path``."""
    started: list[subprocess.Popen[bytes]] = []

    def run(command: tuple[str, ...], name: str = "part") -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command, env=os.environ | marks(tmp_path, name), stdout=subprocess.PIPE))
        return started[-1]

    yield run
    for process in of_stack(str(tmp_path)):
        process.kill()
    for one in started:
        one.communicate()


def test_marks_tell_the_stack_and_the_part() -> None:
    environment = marks(Path("/srv/a"), "kafka")
    assert belongs(environment, "/srv/a")
    assert belongs(environment, "/srv/a", "kafka")
    assert not belongs(environment, "/srv/a", "artemis")
    assert not belongs(environment, "/srv/b")
    assert not belongs({}, "/srv/a")


def test_processes_of_a_stack_are_found_by_part_and_no_others(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    one, other = start(SLEEP, "one"), start(SLEEP, "other")
    assert {process.pid for process in of_stack(str(tmp_path))} == {one.pid, other.pid}
    assert [process.pid for process in of_stack(str(tmp_path), "one")] == [one.pid]
    assert of_stack(str(tmp_path / "else")) == []


def test_process_that_does_not_stop_is_killed(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    stubborn = start(STUBBORN)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    end(of_stack(str(tmp_path)), within_s=0.3)
    assert stubborn.poll() is not None


def test_guard_becomes_the_command_and_ends_what_an_earlier_life_left(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    leftover, bystander = start(SLEEP, "part"), start(SLEEP, "other")
    guarded = start(wrap("part", "TERM", SLEEP), "part")
    assert leftover.wait(20) == -signal.SIGTERM
    wait_for(lambda: psutil.Process(guarded.pid).cmdline() == list(SLEEP))
    assert bystander.poll() is None


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_guarded_command_heeds_its_stop_signal_although_the_starter_ignores_it(
    start: Callable[..., subprocess.Popen[bytes]], stop: signal.Signals
) -> None:
    command = ("sleep", "60")
    signal.signal(stop, signal.SIG_IGN)
    ignoring, guarded = start(command, "ignoring"), start(wrap("guarded", stop.name.removeprefix("SIG"), command), "guarded")
    wait_for(lambda: psutil.Process(guarded.pid).cmdline() == list(command))
    ignoring.send_signal(stop)
    guarded.send_signal(stop)
    assert guarded.wait(20) == -stop
    assert ignoring.poll() is None


@linux_only
def test_guarded_command_is_sent_its_stop_signal_when_its_parent_is_killed(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    block = (
        "import signal; both = [signal.SIGINT, signal.SIGTERM]; signal.pthread_sigmask(signal.SIG_BLOCK, both); print('ready', flush=True);"
    )
    block += "print(signal.sigwait(both).name, flush=True)"
    command = wrap("child", "INT", (sys.executable, "-c", block))
    parent = start((sys.executable, "-c", f"import subprocess; subprocess.run({list(command)!r})"), "parent")
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    assert parent.stdout.readline() == b"SIGINT\n"


def test_a_process_is_known_by_its_birth_too(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start(SLEEP)
    described = watch.describe(psutil.Process(process.pid))
    assert watch.alive(described)
    assert not watch.alive(f"{process.pid} 1.0")
    process.kill()
    process.wait()
    assert not watch.alive(described)


def test_starter_that_died_is_noticed_and_one_that_let_go_is_not_missed(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    starter = start(SLEEP)
    assert not watch.starter_died(tmp_path)
    path = watch.starter_file(tmp_path)
    path.parent.mkdir()
    path.write_text(watch.describe(psutil.Process(starter.pid)))
    assert not watch.starter_died(tmp_path)
    starter.kill()
    starter.wait()
    assert watch.starter_died(tmp_path)


def test_watch_ends_the_parts_when_the_supervisor_is_killed_even_before_the_watch_looks(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    pid_file = watch.supervisor_file(tmp_path)
    pid_file.parent.mkdir()
    command = [sys.executable, "-m", "stack.watch", str(tmp_path)]
    supervisor = (
        f"import os, pathlib, subprocess, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()));"
        f"subprocess.Popen({command!r}); print(flush=True); time.sleep(60)"
    )
    supervised = start((sys.executable, "-c", supervisor), "supervisor")
    part = start(SLEEP)
    assert supervised.stdout is not None
    supervised.stdout.readline()
    supervised.kill()
    supervised.wait()
    assert part.wait(20) == -signal.SIGTERM
    wait_for(lambda: of_stack(str(tmp_path)) == [])
