"""What processes use: memory and processor time, those that they started included."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

EVERY_S = 5.0


@dataclass(frozen=True)
class Usage:
    """Of one service over a stretch of time: the most memory it held, MB (its share of what it shares), and the cores it kept busy."""

    memory: float
    cores: float


def watch(pids: Mapping[str, int], seconds: float) -> dict[str, Usage]:
    """What each of the processes, by name, uses in the next ``seconds``."""
    families = {name: _family(pid) for name, pid in pids.items()}
    before = {name: _seconds(family) for name, family in families.items()}
    memory = dict.fromkeys(pids, 0.0)
    began = time.perf_counter()
    while (left := began + seconds - time.perf_counter()) > 0:
        time.sleep(min(EVERY_S, left))
        memory = {name: max(memory[name], _megabytes(family)) for name, family in families.items()}
    took = time.perf_counter() - began
    return {name: Usage(memory[name], (_seconds(family) - before[name]) / took) for name, family in families.items()}


def _family(pid: int) -> Sequence[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _seconds(family: Sequence[psutil.Process]) -> float:
    """Processor time of those that still run."""
    times = [process.cpu_times() for process in family if process.is_running()]
    return sum(one.user + one.system for one in times)


def _megabytes(family: Sequence[psutil.Process]) -> float:
    found = [process.memory_full_info() for process in family if process.is_running()]
    return sum(getattr(one, "pss", one.uss) for one in found) / 1e6
