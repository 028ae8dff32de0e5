"""``python -m tests.simulation SEED`` tells the story of a seed; ``--seeds N`` runs the seeds 1 to N and names those that fail."""

import argparse
import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mliot.featuremodels import load_feature_models
from mliot.settings import Settings
from tests.simulation.plan import plan_of
from tests.simulation.run import compiled, run, run_many
from tests.simulation.surroundings import Databases
from tests.simulation.world import Switches

SWITCHES = {
    "trust-late-commits": Switches(trust_late_commits=True),
    "forget-doubt-on-open": Switches(forget_doubt_on_open=True),
    "acknowledge-first": Switches(acknowledge_first=True),
    "positions-first": Switches(positions_first=True),
}
TOLD_EVERY = 500
"""Seeds between two lines where there is no terminal to show a bar on."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="the seed whose story is told")
    parser.add_argument("--seeds", type=int, default=0, help="run so many seeds")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--without", choices=SWITCHES, help="take a safeguard away, to see the checker bite")
    given = parser.parse_args()
    manifest = compiled(Settings().home / "simulation")
    switches = SWITCHES.get(given.without, Switches())
    if given.seed is not None:
        return story(given.seed, manifest, switches)
    return many(range(given.first, given.first + given.seeds), manifest, switches)


def story(seed: int, manifest: Path, switches: Switches) -> int:
    plan = plan_of(seed)
    print(f"seed {seed}: {len(plan.messages)} messages, rows {plan.rows}, grace {plan.grace_ms} ms, idle {plan.idle_ms} ms")
    print("faults: " + ", ".join(f"{fault} {share:.2f}" for fault, share in plan.shares.items()))
    findings = run(seed, Databases(load_feature_models(manifest)), switches, print)
    print("\n".join(findings) or "nothing to find fault with")
    return bool(findings)


def many(seeds: range, manifest: Path, switches: Switches) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    failing: dict[int, list[str]] = {}
    with Progress(*columns) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for done, (seed, findings) in enumerate(run_many(seeds, manifest, switches), 1):
            if findings:
                failing[seed] = findings
                progress.console.print(f"seed {seed}: {findings[0]}" + (f" (and {len(findings) - 1} more)" if findings[1:] else ""))
            progress.update(task, advance=1, description=f"seeds, {len(failing)} failing")
            if done % TOLD_EVERY == 0 and not progress.console.is_terminal:
                progress.console.print(f"{done} of {len(seeds)} seeds, {len(failing)} failing")
    print(f"{len(seeds)} seeds, {len(failing)} failing" + "".join(f"\n  python -m tests.simulation {seed}" for seed in sorted(failing)))
    return bool(failing)


if __name__ == "__main__":
    sys.exit(main())
