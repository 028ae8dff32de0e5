"""``mliot trace``, ``mliot audit`` and ``mliot deadletter``: where records came from and what became of them."""

import getpass
import sys
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from lineage import show
from lineage.audit_run import audit_until
from lineage.chain import StoredLetter
from lineage.letters import find_letters, list_letters, unique
from lineage.resend import Publisher, replay
from lineage.store import Store, connected
from lineage.trace import Trace
from lineage.trace_rows import find, last_frame, read_chain
from mliot.clock import SystemClock
from mliot.errors import MliotError, UserError
from mliot.grains import Grains
from mliot.settings import Settings
from usecases import load_use_cases
from warehouse.dbt import feature_models

NOT_CLEAN = 1
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Reason = Annotated[str | None, typer.Option(help="Only letters whose reason contains this.")]
Service = Annotated[str | None, typer.Option(help="Only letters that this service refused.")]

deadletter = typer.Typer(no_args_is_help=True, help="What could not be used: list it, look at it, send it again.")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to ``app``."""
    app.command()(trace)
    app.command()(audit)
    app.add_typer(deadletter, name="deadletter")


def trace(
    id: Annotated[str | None, typer.Argument(help="Id of a frame, feature row, prediction, command or dead letter.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of an id: a frame of this device.")] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest frame of --device.")] = False,
    frames: Annotated[int, typer.Option(min=0, help="Of a window: how many of its frames to list.")] = 5,
    json: Json = False,
) -> None:
    """The chain from frame to ack around one id, with the times between the hops."""
    if (id is None) == (device is None) or last != (device is not None):
        raise UserError("trace: give either an ID or --device NAME --last")
    settings = Settings.read_of_stack()
    use_cases, grains = load_use_cases(settings.usecases), Grains.of(feature_models(settings))
    with connected(settings) as store:
        subject = find(store, grains, id) if id is not None else last_frame(store, device or "")
        if subject is None:
            raise MliotError(f"{id}: no such id in the store" if id is not None else f"{device}: no frame of this device in the store")
        chain = read_chain(store, grains, subject, listed=frames)
    tree = Trace(chain, use_cases, grains, SystemClock().now_ms(), int(settings.grace_s * 1000)).tree()
    if json:
        _print_json({"subject": subject, "chain": tree})
    else:
        Console().print(show.tree(tree))


def audit(
    wait: Annotated[float, typer.Option(min=0, help="Seconds in which to look again until it is clean: services may be under way.")] = 0,
    settle: Annotated[float, typer.Option(min=0, help="Seconds after which a record owes what follows from it.")] = 3,
    strict: Annotated[bool, typer.Option("--strict", help="What is in doubt fails too, such as a warehouse that lags behind.")] = False,
    json: Json = False,
) -> None:
    """Reconciles every id: journals, Kafka, windows, features, predictions, commands, acks, store, warehouse.

    Ends with 0 only if nothing is missing, twice or foreign.
    """
    settings = Settings.read_of_stack()
    use_cases = load_use_cases(settings.usecases)
    report = audit_until(settings, use_cases, SystemClock(), settle_s=settle, wait_s=wait, strict=strict)
    if json:
        _print_json({"clean": report.clean, "findings": report.findings, "notes": report.notes, "doubts": report.doubts})
    else:
        Console().print(show.audit(report))
    if not report.clean:
        raise typer.Exit(NOT_CLEAN)


@deadletter.command("list")
def list_command(
    service: Service = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """Dead letters, newest first."""
    with connected(Settings.read_of_stack()) as store:
        found = list_letters(store, service=service, reason=reason, limit=limit)
        if json:
            _print_json([_as_fields(stored) for stored in found])
        else:
            console = Console()
            console.print(show.letters(found, console.width) if found else "no dead letters")


@deadletter.command("show")
def show_command(
    id: Annotated[str, typer.Argument(help="The letter's id, or as much of it as makes it the only one.")],
    whole: Annotated[bool, typer.Option("--whole", help=f"All bytes, not the first {show.SHOWN_BYTES}.")] = False,
    json: Json = False,
) -> None:
    """One dead letter with its original bytes, escaped."""
    with connected(Settings.read_of_stack()) as store:
        stored = _letter(store, id)
        if json:
            _print_json(_as_fields(stored))
        else:
            console = Console()
            console.print(show.letter(stored, width=console.width, whole=whole))


@deadletter.command("replay")
def replay_command(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of letters, each as much as makes it the only one.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Every letter that was not replayed since it was refused.")] = False,
    reason: Reason = None,
    service: Service = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Publishes the original bytes again to where they came from; what is refused again keeps its id."""
    if bool(ids) == all:
        raise UserError("deadletter replay: give either IDs or --all")
    if ids and (reason or service):
        raise UserError("deadletter replay: --reason and --service go with --all")
    settings, clock = Settings.read_of_stack(), SystemClock()
    with connected(settings) as store, Publisher(settings, clock) as publisher:
        if ids:
            chosen = list({stored.letter.dead_id: stored for stored in (_letter(store, id) for id in ids)}.values())
        else:
            chosen = [s for s in list_letters(store, service=service, reason=reason, limit=None) if s.is_open]
        console = Console()
        if not chosen:
            console.print("no dead letters to replay")
            return
        console.print(show.plan(chosen))
        if not yes:
            typer.confirm(f"Publish {'this letter' if len(chosen) == 1 else f'these {len(chosen)} letters'} again?", abort=True)
        done = 0
        for letter, to in replay(store, [stored.letter for stored in chosen], publisher, clock, by=getpass.getuser()):
            done += 1
            console.print(show.safe(f"{letter.dead_id[: show.SHORT_ID]} published to {to.system} {to.topic}"))
        console.print(f"{done} published again")


def _letter(store: Store, id: str) -> StoredLetter:
    stored = unique(find_letters(store, id), id)
    if stored is None:
        raise MliotError(f"{id}: no dead letter has an id that starts with this")
    return stored


def _as_fields(stored: StoredLetter) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(stored.letter),
        "address": stored.address,
        "stored_ms": stored.stored_ms,
        "replayed_ms": stored.replayed_ms,
    }


def _print_json(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
