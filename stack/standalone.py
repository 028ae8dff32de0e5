"""One server of the stack on its own, without a supervisor: for tests and measurements, which also kill it and start it again."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import psutil

from mliot.settings import Settings
from stack import guard, homefolder, jars
from stack.environment import environment
from stack.lifecycle import until_well
from stack.plan import choose, plan
from stack.processes import marks
from stack.supervise import log_path

STOP_S = 30


class StandaloneServer:
    """Part ``name`` (``artemis``, ``kafka`` or ``postgres``) of the stack that ``settings`` describe.

    It ends with the process that started it (on Linux also when that one is killed). Its data lie in ``settings.home`` and outlive it.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self._part = choose(plan(settings), [name])[-1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "StandaloneServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def name(self) -> str:
        return self._part.name

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def log(self) -> Path:
        return log_path(self.settings, self.name)

    def start(self) -> None:
        """Start the server and wait until it is well, its topics or tables made. Raises :class:`UserError` when that takes too long."""
        part = self._part
        homefolder.close(self.settings.home.absolute())
        if part.jars:
            jars.fetch([part.jars])
        part.prepare(self.settings)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        variables = os.environ | environment(self.settings) | part.environment(self.settings) | marks(self.settings.home, part.name)
        with self.log.open("ab") as log:
            command = guard.wrap(part.name, part.stop, part.command)
            self._process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, umask=homefolder.UMASK
            )
        try:
            until_well(self.settings, part, threading.Event())
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the server in its own way, or kill it where that takes too long; returns when it is gone."""
        self._end(signal.Signals[f"SIG{self._part.stop}"])

    def kill(self) -> None:
        """``kill -9``: it has no time for anything; returns when the server and its workers are gone."""
        self._end(signal.SIGKILL)

    def _end(self, sent: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        workers = psutil.Process(self.pid).children(recursive=True)
        self._process.send_signal(sent)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        psutil.wait_procs(workers, timeout=STOP_S)
