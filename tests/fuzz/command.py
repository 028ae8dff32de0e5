"""``make fuzz``: a campaign over two processes with a progress bar; ends with 1 and one line to repeat it where anything went wrong."""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mliot.featuremodels import load_feature_models
from mliot.settings import Settings
from tests.fuzz.campaign import FRAMES, Campaign, Finding, Tally
from tests.fuzz.corpus import keep, line
from warehouse.dbt import compile_for_stream

PROCESSES = 2
_CAMPAIGN: list[Campaign] = []


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the campaign that the arguments name; returns the exit code."""
    asked = _parser().parse_args(arguments)
    console = Console()
    chunks = [asked.chunk] if asked.chunk is not None else list(range(-(-asked.frames // FRAMES)))
    tally, began = Tally(), time.monotonic()
    with _compiled() as manifest:
        if len(chunks) == 1:
            _start(asked.seed, manifest)
            tally.add(_chunk(chunks[0], min(FRAMES, asked.frames)))
        else:
            _spread(chunks, asked, manifest, tally, console)
    for finding in tally.findings:
        _tell(finding, console)
    console.print(summary(tally, asked.seed, time.monotonic() - began), soft_wrap=True, highlight=False)
    return 1 if tally.findings else 0


def summary(tally: Tally, seed: int, seconds: float) -> str:
    """The campaign in one line."""
    frames = sum(tally.frames.values())
    fates = ", ".join(f"{count:,} {name}" for name, count in sorted(tally.frames.items()))
    records = sum(tally.records.values())
    unaccounted = sum("Violation" in finding.error for finding in tally.findings)
    return (
        f"fuzz: {frames:,} frames ({fates}), {records:,} records of {len({name.split()[0] for name in tally.records})} services; "
        f"exceptions {len(tally.findings) - unaccounted}, unaccounted {unaccounted}; {(frames + records) / seconds:,.0f}/s; seed {seed}"
    )


def _spread(chunks: Sequence[int], asked: argparse.Namespace, manifest: Path, tally: Tally, console: Console) -> None:
    """The chunks over the processes, each with a share of the frames; a finding ends the campaign early."""
    left = {chunk: min(FRAMES, asked.frames - chunk * FRAMES) for chunk in chunks}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(PROCESSES, get_context("spawn"), _start, (asked.seed, manifest)) as pool,
    ):
        bar = progress.add_task("frames", total=asked.frames)
        waiting = [pool.submit(_chunk, chunk, frames) for chunk, frames in left.items()]
        for done in as_completed(waiting):
            tally.add(done.result())
            progress.update(bar, completed=sum(tally.frames.values()))
            if tally.findings:
                pool.shutdown(cancel_futures=True)
                return


def _start(seed: int, manifest: Path) -> None:
    _CAMPAIGN[:] = [Campaign(seed, load_feature_models(manifest))]


def _chunk(chunk: int, frames: int) -> Tally:
    return _CAMPAIGN[0].run(chunk, frames)


def _tell(finding: Finding, console: Console) -> None:
    """Says what was found and how to repeat it, and keeps the inputs as regressions."""
    about = f"{finding.service}: {finding.error}"
    console.print(about, style="red", markup=False, soft_wrap=True)
    for known in finding.inputs:
        console.print(f"  {line(known, '')[:400]}", markup=False, soft_wrap=True, highlight=False)
        keep(known, about[:200])
    console.print(f"  again: {finding.reproduction}", markup=False, soft_wrap=True, highlight=False)


@contextmanager
def _compiled() -> Iterator[Path]:
    """The feature models as compiled for the stream."""
    with tempfile.TemporaryDirectory(prefix="mliot-fuzz-") as home:
        yield compile_for_stream(Settings(home=Path(home), _env_file=None))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="MQTT messages (FRAMES=)")
    parser.add_argument("--seed", type=int, default=1, help="makes other inputs (SEED=)")
    parser.add_argument("--chunk", type=int, help="only this chunk (CHUNK=)")
    return parser
