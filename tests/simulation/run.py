"""Runs seeds: one with its story, or many over several processes."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from unittest.mock import patch

from mliot.featuremodels import load_feature_models
from mliot.measurements import load_measurements
from mliot.settings import Settings
from streaming.process import collect_seldom
from tests.simulation.checker import check
from tests.simulation.plan import plan_of
from tests.simulation.surroundings import Databases
from tests.simulation.twin import MEASUREMENTS
from tests.simulation.world import Switches, World
from warehouse import dbt

CHUNK, CHUNKS_A_PROCESS = 5, 60
"""A process is let go after some hundred seeds, and with it the memory that its databases do not give back."""
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=20000"}
"""Several databases in one process, filled and emptied thousands of times, leave glibc with lists of free memory that it walks through ever
longer: without a larger cache a seed takes twice as long after some thousand others."""


def compiled(home: Path) -> Path:
    """The feature models as dbt compiles them for the stream, for the few measurements of the simulated fleet: SQL of 5 runs twice as
    fast as SQL of all. Compiled anew only where something changed."""
    ranges = {name: known.range for name, known in load_measurements().items() if name in MEASUREMENTS}
    with patch.object(dbt, "ranges", lambda _: ranges):
        return dbt.compile_for_stream(Settings(home=home, _env_file=None))


def run(seed: int, databases: Databases, switches: Switches | None = None, tell=lambda _: None) -> list[str]:
    """What the checker finds of the world of ``seed``; an error of the platform's is a finding too."""
    world = World(plan_of(seed), databases, switches or Switches(), tell)
    try:
        world.run()
    except Exception as error:  # whatever the platform raises ends its world, and is the seed's finding
        return [f"{type(error).__name__}: {error}"]
    finally:
        databases.free()
    return check(world)


def run_many(
    seeds: Iterable[int], manifest: Path, switches: Switches | None = None, processes: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Each seed with what was found, as they end."""
    workers = processes or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    work = ((seed, manifest, switches) for seed in seeds)
    with patch.dict(os.environ, ALLOCATOR):  # read by a process as it starts
        made = context.Pool(workers, collect_seldom, maxtasksperchild=CHUNKS_A_PROCESS)
    with closing(made) as pool:
        yield from pool.imap_unordered(_run, work, chunksize=CHUNK)
        pool.close()
        pool.join()


def _run(work: tuple[int, Path, Switches | None]) -> tuple[int, list[str]]:
    seed, manifest, switches = work
    return seed, run(seed, _databases(manifest), switches)


@cache
def _databases(manifest: Path) -> Databases:
    return Databases(load_feature_models(manifest))
