"""The supervisor of the stack: its configuration, its start, and the talk with it over its socket."""

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from mliot.settings import Settings
from stack import guard, homefolder, watch
from stack.environment import environment, settings_in
from stack.plan import Part
from stack.processes import PART_MARK, marks

PROJECT = Path(__file__).parents[1]
WATCH = "watch"
MAX_SOCKET = 100
"""Bytes. The kernels take 104 (macOS) or 108 (Linux)."""


@dataclass(frozen=True)
class Running:
    """What the supervisor says of one part; ``state`` is its word (RUNNING, STARTING, BACKOFF, FATAL, STOPPED, ...)."""

    name: str
    state: str
    pid: int
    since_s: int

    @property
    def alive(self) -> bool:
        return self.state in ("RUNNING", "STARTING", "STOPPING")


def log_path(settings: Settings, part: str) -> Path:
    return settings.home.absolute() / "logs" / f"{part}.log"


def configuration_path(settings: Settings) -> Path:
    return settings.home.absolute() / "run" / "supervisord.conf"


def socket_path(settings: Settings) -> Path:
    """The control socket: in the home folder, or, where that path is too long for a socket, in a folder of the system's temporary one."""
    path = settings.home.absolute() / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET:
        return path
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"mliot-{os.getuid()}-{digest}" / "supervisor.sock"


def configuration(settings: Settings, parts: Iterable[Part]) -> str:
    """The text of ``supervisord.conf``: every part under guard, started by ``up`` only, restarted whenever it ends, logs rotated."""
    home = settings.home.absolute()
    ours = [part for part in parts if not part.external]
    sections = [
        _section(
            "supervisord",
            nodaemon="true",
            silent="true",
            logfile=log_path(settings, "supervisor"),
            pidfile=watch.supervisor_file(home),
            directory=PROJECT,
            identifier="mliot",
            umask=f"{homefolder.UMASK:o}",
        ),
        _section("unix_http_server", file=socket_path(settings), chmod="0700"),
        _section("rpcinterface:supervisor", **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"}),
        _program(settings, WATCH, (sys.executable, "-m", "stack.watch", str(home)), {}, autostart="true", priority=1),
    ]
    for part in ours:
        command = guard.wrap(part.name, part.stop, part.command)
        sections.append(_program(settings, part.name, command, part.environment(settings), stopsignal=part.stop, stopwaitsecs=part.stop_s))
    for priority, group in ((10, "servers"), (20, "services")):
        programs = ",".join(part.name for part in ours if part.group == group)
        if programs:  # the supervisor stops groups one after the other, highest priority first, and each group's programs together
            sections.append(_section(f"group:{group}", programs=programs, priority=priority))
    return "\n".join(sections)


def _program(settings: Settings, name: str, command: tuple[str, ...], variables: dict[str, str], **more: object) -> str:
    own = {PART_MARK: name, **variables}
    return _section(
        f"program:{name}",
        command=shlex.join(command),
        environment=",".join(f'{key}="{_quoted(value)}"' for key, value in own.items()),
        **{"autostart": "false", **more},
        autorestart="true",
        startsecs=3,
        startretries=1000,
        killasgroup="true",
        redirect_stderr="true",
        stdout_logfile=log_path(settings, name),
        stdout_logfile_maxbytes="10MB",
        stdout_logfile_backups=3,
    )


def _section(title: str, **pairs: object) -> str:
    """A section; ``%`` introduces an expansion in the supervisor's files, so that a plain one is doubled."""
    return f"[{title}]\n" + "".join(f"{key}={str(value).replace('%', '%%')}\n" for key, value in pairs.items())


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def start(settings: Settings, parts: Iterable[Part]) -> int:
    """Write the configuration and start the supervisor (with its watch, and no part yet); returns its process id."""
    home = settings.home.absolute()
    for folder in (home / "run", home / "logs", socket_path(settings).parent):
        folder.mkdir(mode=0o700 if folder == socket_path(settings).parent else 0o755, parents=True, exist_ok=True)
    path = configuration_path(settings)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)  # it holds Dagster's database address
    path.write_text(configuration(settings, parts), "utf-8")
    variables = os.environ | environment(settings) | marks(home) | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with log_path(settings, "supervisor").open("ab") as log:
        command = (sys.executable, "-m", "stack.supervisord", "-n", "-c", str(path))
        return subprocess.Popen(
            command,
            env=variables,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=homefolder.UMASK,
        ).pid


class Supervisor:
    """The running supervisor of a stack. Every call raises :class:`OSError` while it does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._address = f"unix://{socket_path(settings)}"

    def pid(self) -> int:
        return int(self._call("getPID"))

    def settings(self) -> Settings:
        """The settings with which it was started, and which every part of its stack has."""
        return settings_in(psutil.Process(self.pid()).environ())

    def parts(self) -> dict[str, Running]:
        """Every part it knows, by name, the watch left out."""
        told = (
            Running(info["name"], info["statename"], info["pid"], info["now"] - info["start"]) for info in self._call("getAllProcessInfo")
        )
        return {running.name: running for running in told if running.name != WATCH}

    def start(self, part: Part) -> None:
        """Have ``part`` started; one that runs already stays as it is."""
        try:
            self._call("startProcess", f"{part.group}:{part.name}", False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise

    def shutdown(self) -> None:
        """Have every part stopped in order, and the supervisor ended; returns before that is done."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, self._address)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def running(settings: Settings) -> Supervisor | None:
    """The supervisor of this home folder's stack, or None where none runs, or one that is ending already."""
    supervisor = Supervisor(settings)
    try:
        supervisor.pid()
    except OSError:
        return None
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != Faults.SHUTDOWN_STATE:
            raise
        return None
    return supervisor
