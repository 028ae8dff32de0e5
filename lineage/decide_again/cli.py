"""``mliot replay``: decide again, from the log, and compare. What it works with is imported when it runs: other commands start sooner."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lineage.decide_again.parts import Parts
    from lineage.decide_again.report import Report
    from lineage.store import Store
    from mliot.settings import Settings

NOT_EQUAL = 1


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    app.command()(replay)


def replay(
    id: Annotated[str | None, typer.Argument(help="Id of a prediction, command, window, feature row or frame.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Instead of an id: N past decisions, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="Draws another sample; the same one draws the same of the same log.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
) -> None:
    """Computes past decisions again, from the log alone, and compares them with what was served and stored.

    Frames to window and feature row by the same SQL, to the prediction by the model version that it names (the online learner's by
    learning again), to the command by the same rules. Of a frame, window or feature row: every decision that it took part in.

    Ends with 0 only if every one is equal: classes, levels and commands the same, numbers within 1e-6.
    """
    from mliot.errors import MliotError, UserError
    from mliot.settings import Settings

    if (id is None) == (sample is None):
        raise UserError("replay: give either an ID or --sample N")
    report = _one(Settings.read_of_stack(), id, json) if id is not None else _sample(Settings.read_of_stack(), sample or 0, seed, json)
    if not report.decisions:
        raise MliotError("replay: nothing was predicted yet")
    if not report.equal:
        raise typer.Exit(NOT_EQUAL)


def _one(settings: "Settings", id: str, json: bool) -> "Report":
    from rich.console import Console

    from lineage.decide_again import engine, show
    from lineage.decide_again.question import ask
    from lineage.show import safe
    from lineage.store import connected
    from mliot.errors import MliotError

    with connected(settings) as store, _parts(settings, store) as parts:
        report = engine.replay(ask(store, id, parts.models, parts.use_cases), parts, keep=True)
    if json:
        _print_json(show.as_json(report))
        return report
    unknown = [f"{one.id}: cannot be replayed: {one.unknown}" for one in report.decisions if one.unknown]
    if len(unknown) == len(report.decisions):
        raise MliotError("; ".join(unknown))
    console = Console()
    for one in report.decisions:
        if not one.unknown:
            console.print(show.decision(one, parts.use_cases.get(one.then.use_case) if one.then else None))
    for line in unknown:
        console.print(safe(line, "yellow"))
    console.print(show.summary(report))
    return report


def _sample(settings: "Settings", size: int, seed: int, json: bool) -> "Report":
    from rich.console import Console

    from lineage.decide_again import engine, show
    from lineage.decide_again.past import Asked
    from lineage.store import connected

    with connected(settings) as store, _parts(settings, store) as parts:
        report = engine.replay(Asked(sample=size, seed=seed), parts)
    if json:
        _print_json(show.as_json(report))
    elif report.decisions:
        Console().print(show.sample(report, size))
    return report


@contextmanager
def _parts(settings: "Settings", store: "Store") -> "Iterator[Parts]":
    from learning.store import ModelStore
    from lineage.decide_again.adapters import KafkaSource, Models, StoredMessages
    from lineage.decide_again.parts import Parts
    from lineage.decide_again.progress import showing
    from mliot.clock import SystemClock
    from usecases import load_use_cases
    from warehouse.dbt import feature_models

    models = feature_models(settings)
    with showing() as progress:
        yield Parts(
            KafkaSource(settings.kafka_address, SystemClock()),
            models,
            load_use_cases(settings.usecases),
            Models(ModelStore(settings.models_path)),
            StoredMessages(store),
            progress,
        )


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
