"""Makers' codecs for LoRaWAN uplinks (JavaScript, LoRa Alliance payload codec API, TS013), run in a process that can be killed.

A limit of time that the interpreter keeps itself stops a loop, but no single native call that goes on for seconds. So a process that
computes too long over one call is killed, and another one, which stands ready, goes on with the calls behind it. A codec that overran is
not asked again for a while: it costs the other uplinks that delay once, not with each of its own.
"""

import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
from pydantic import TypeAdapter

from mliot.clock import Clock, SystemClock
from mliot.declarations import read_yaml
from mliot.errors import DeclarationError, Fatal, Rejected
from streaming.adapters.codecworker import Answer, Call, framed
from streaming.intake.uplinks import Undecoded

MAPPING = "codecs.yaml"
MAX_CALLS = 64
"""Sent at once. They fit into a pipe whole, so that neither side waits for the other to read."""
LOOK_S = 0.005
KILL_CPU_S = 0.02
"""Computed over one call, which the interpreter itself should have stopped after half of that; known to a hundredth of a second."""
KILL_WALL_S = 2.0
QUARANTINE_S = 60.0
START_S = 30.0
_ANSWERS = msgspec.msgpack.Decoder(Answer)
_MAPPING = TypeAdapter(dict[str, str])


class Codecs:
    """The codecs of a folder: ``NAME.js`` is for the devices whose profile, model or id is NAME; ``codecs.yaml`` there may say others.

    Raises :class:`DeclarationError` where the folder or its mapping cannot be used.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        if not folder.is_dir():
            raise DeclarationError(f"{folder}: is not a folder of codecs (MLIOT_CODECS)")
        self._folder = folder
        self._clock = clock or SystemClock()
        self._files = {path.stem.lower(): path.name for path in sorted(folder.glob("*.js"))}
        self._files |= self._mapped(folder / MAPPING)
        self._until: dict[str, float] = {}
        self._workers: deque[_Process] = deque()

    def _mapped(self, path: Path) -> dict[str, str]:
        mapped = read_yaml(path, _MAPPING, "an entry is NAME: FILE.js") if path.exists() else {}
        for name, file in mapped.items():
            if file not in self._files.values():
                raise DeclarationError(f"{path}: {name}: there is no codec {file!r} in the folder")
        return {name.lower(): file for name, file in mapped.items()}

    def __enter__(self) -> "Codecs":
        self._workers.extend(_Process(self._folder) for _ in range(2))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def __call__(self, uplinks: Sequence[Undecoded]) -> list[Mapping[str, Any] | Rejected]:
        """Each uplink's readings, or why there are none, in order."""
        answers: list[Mapping[str, Any] | Rejected] = [Rejected("")] * len(uplinks)
        waiting: deque[tuple[int, Call]] = deque()
        for number, uplink in enumerate(uplinks):
            file = next((self._files[name.lower()] for name in uplink.names if name.lower() in self._files), None)
            if file is None:
                answers[number] = Rejected(f"{uplink.without_codec}; MLIOT_CODECS has none for {' or '.join(filter(None, uplink.names))}")
            else:
                waiting.append((number, Call(file, uplink.given)))
        while waiting:
            asked = list[tuple[int, Call]]()
            while waiting and len(asked) < MAX_CALLS:
                number, call = waiting.popleft()
                if self._until.get(call.codec, 0.0) > self._clock.monotonic():
                    answers[number] = Rejected(f"codec {call.codec} overran its limits and is not asked for {QUARANTINE_S:.0f} s")
                else:
                    asked.append((number, call))
            answered = self._ask([call for _, call in asked])
            for (number, call), answer in zip(asked, answered, strict=False):
                answers[number] = self._readings(call, answer)
            waiting.extendleft(reversed(asked[len(answered) :]))
        return answers

    def _ask(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers, to the one at which the process had to be killed."""
        if not calls:
            return []
        worker, answers = self._workers[0], list[Answer]()
        worker.ready()
        if not worker.send(framed(calls)):
            self._replace()
            return []
        while len(answers) < len(calls):
            answer = worker.answer(KILL_WALL_S)
            if answer is None:
                self._replace()
                return [*answers, Answer(why="computes for too long, or ended its process", overran=True)]
            answers.append(answer)
        return answers

    def _replace(self) -> None:
        self._workers.popleft().kill()
        self._workers.append(_Process(self._folder))

    def _readings(self, call: Call, answer: Answer) -> Mapping[str, Any] | Rejected:
        if answer.overran:
            self._until[call.codec] = self._clock.monotonic() + QUARANTINE_S
        if answer.why:
            return Rejected(f"codec {call.codec}: {answer.why}")
        try:
            found = msgspec.json.decode(answer.answer) if answer.answer else None
        except (msgspec.DecodeError, RecursionError) as error:
            return Rejected(f"codec {call.codec} answers what is not JSON: {error}")
        if not isinstance(found, dict):
            return Rejected(f"codec {call.codec} answers no object")
        if errors := found.get("errors"):
            return Rejected(f"codec {call.codec} says: {str(errors)[:300]}")
        data = found.get("data")
        return data if isinstance(data, dict) else Rejected(f"codec {call.codec} answers no data")


class _Process:
    """One process of :mod:`streaming.adapters.codecworker`."""

    def __init__(self, folder: Path) -> None:
        command = (sys.executable, "-m", "streaming.adapters.codecworker", str(folder.absolute()))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._usage = psutil.Process(self._process.pid)
        self._held = bytearray()
        self._ready = False

    def ready(self) -> None:
        """Waits until it has started. Raises :class:`Fatal` where it does not."""
        if not self._ready and self.answer(START_S, cpu_s=START_S) is None:
            raise Fatal("the process for codecs does not start")
        self._ready = True

    def send(self, request: bytes) -> bool:
        """False where the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
        except BrokenPipeError:
            return False
        return True

    def answer(self, wall_s: float, cpu_s: float = KILL_CPU_S) -> Answer | None:
        """The next answer; None where it computed for longer than ``cpu_s``, has not answered in ``wall_s``, or is gone.

        Its processor time is what counts: on a machine that is busy a call may have to wait for longer.
        """
        assert self._process.stdout is not None
        began: float | None = None
        waited_s = 0.0
        while (whole := self._whole()) is None:
            if select.select([self._process.stdout], [], [], LOOK_S)[0]:
                came = os.read(self._process.stdout.fileno(), 1 << 16)
                if not came:
                    return None
                self._held += came
                continue
            waited_s += LOOK_S
            used = self._used_s()
            began = used if began is None else began
            if used - began >= cpu_s or waited_s >= wall_s:
                return None
        return _ANSWERS.decode(whole)

    def kill(self) -> None:
        """Ends it, and waits until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _whole(self) -> bytes | None:
        length = int.from_bytes(self._held[:4], "big")
        if len(self._held) < 4 or len(self._held) < 4 + length:
            return None
        body = bytes(self._held[4 : 4 + length])
        del self._held[: 4 + length]
        return body

    def _used_s(self) -> float:
        try:
            times = self._usage.cpu_times()
        except psutil.NoSuchProcess:
            return float("inf")
        return float(times.user + times.system)
