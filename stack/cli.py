"""The local stack's commands: up, down, status, logs, env, reset."""

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console, Group
from rich.table import Table

from lineage.show import safe
from mliot.clock import SystemClock
from mliot.errors import UserError
from mliot.settings import Settings
from stack import lifecycle, supervise
from stack.health import Health
from stack.logfiles import follow, last_lines
from stack.plan import Part, plan
from stack.status import PartStatus, as_json, healthy, problems, survey

NOT_WELL = 1
COLOURS = {"ok": "green", "waiting": "yellow", "stalled": "red", "starting": "yellow", "stopping": "yellow", "stopped": "dim"}
PANEL = "The local stack"
Names = Annotated[list[str] | None, typer.Argument(metavar="[PART]...", help="Only these parts, and what they need.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (up, down, status, logs, env, reset):
        app.command(rich_help_panel=PANEL)(command)


def up(
    parts: Names = None,
    without: Annotated[list[str] | None, typer.Option(metavar="PART", help="Not this part (fleet, say). May be given again.")] = None,
    foreground: Annotated[bool, typer.Option("--foreground/--detach", help="Stay, and stop the stack on Ctrl-C.")] = False,
) -> None:
    """Start the stack, wait until every part is well, and print its addresses.

    Parts that run already stay as they are. A part that does not become well is named, the others stay up, and the exit code is 1.
    Ports are checked first. The first start fetches Kafka and Artemis (60 MB).
    A server of your own takes a part's place when its address is set: MLIOT_KAFKA_BOOTSTRAP, MLIOT_MQTT_URL, MLIOT_POSTGRES_DSN.
    """
    settings = Settings.read()
    console = Console(stderr=True)
    names = parts or [part.name for part in plan(settings) if part.name not in (without or ())]
    interruptible()

    def report(part: Part, health: Health) -> None:
        told = f"[{COLOURS.get(health.state, 'red')}]{health.state:>8}[/]  {part.name:<15} {health.detail or part.about}"
        console.print(told, highlight=False, soft_wrap=True)

    began = time.monotonic()
    try:
        started = lifecycle.up(settings, names, report)
        console.print(f"up after {time.monotonic() - began:.1f} s", highlight=False)
        Console().print(addresses(settings, started.well))
        tell_not_well(console, started)
        if not foreground:
            lifecycle.leave(settings)
            if started.not_well:
                raise typer.Exit(NOT_WELL)
            return
        lifecycle.hold(settings)
        console.print("Ctrl-C stops it")
        while supervise.running(settings) is not None:
            time.sleep(1)
    except KeyboardInterrupt:
        if foreground:
            lifecycle.down(settings)
        raise UserError("stopped") from None


def down() -> None:
    """Stop the stack, services before servers. It returns when the last process is gone; the data stays."""
    typer.echo("down" if lifecycle.down(Settings.read_of_stack()) else "nothing was running")


def status(as_data: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False) -> None:
    """Ask every part how it is: state, rate, lag, memory, last error. Exit code 1 when something that was started is not well."""
    settings = Settings.read_of_stack()
    found, wrong = survey(settings), problems(settings)
    if as_data:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(as_json(found, wrong)), indent=2).decode() + "\n")
    else:
        Console().print(status_page(found, wrong))
    if not healthy(found, wrong):
        raise typer.Exit(NOT_WELL)


def logs(
    part: Annotated[str | None, typer.Argument(help="One part; all, where none is named.", show_default=False)] = None,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show what a part wrote to its log."""
    settings = Settings.read_of_stack()
    names = [one.name for one in plan(settings) if not one.external] + ["supervisor"]
    if part is not None and part not in names:
        raise UserError(f"{part!r} has no log; those that have are {', '.join(names)}")
    paths = {name: supervise.log_path(settings, name) for name in ([part] if part else names)}
    lead = {name: "" if part else f"{name} | " for name in paths}
    for name, path in paths.items():
        for line in last_lines(path, lines):
            typer.echo(lead[name] + line)
    if following:
        for name, line in follow(paths):
            typer.echo(lead[name] + line)


def env() -> None:
    """Print the stack's addresses as shell assignments, for any other tool: [cyan]env $(mliot env) TOOL[/cyan]."""
    settings = Settings.read_of_stack()
    addresses = {
        "MLIOT_MQTT_URL": settings.mqtt_device_address,
        "MLIOT_KAFKA_BOOTSTRAP": settings.kafka_address,
        "MLIOT_POSTGRES_DSN": settings.postgres_address,
        "MLIOT_ENDPOINT_URL": settings.endpoint_address,
        "MLIOT_DAGSTER_URL": settings.dagster_address,
        "MLIOT_DASHBOARD_URL": settings.dashboard_address,
    }
    for name, value in addresses.items():
        typer.echo(f"{name}={shlex.quote(value)}")


def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete everything that the stack keeps: readings, models, history. It must be down, and it asks first."""
    settings = Settings.read_of_stack()
    home = settings.home.absolute()
    if not home.exists():
        typer.echo(f"{home}: there is nothing")
        return
    if not yes:
        typer.confirm(f"Delete {home} with all readings, models and history?", abort=True)
    lifecycle.reset(settings)
    typer.echo(f"{home}: deleted")


def interruptible() -> None:
    """From here on Ctrl-C and SIGTERM end a command in good order; only the first counts: taking the stack down must come to its end."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def tell_not_well(console: Console, started: lifecycle.Started) -> None:
    """One line for each part that is not well."""
    for why in started.not_well.values():
        console.print(safe(f"not well: {why}", "red"), soft_wrap=True)
    if started.not_well:
        console.print("the other parts are up; mliot up again once the cause is gone, mliot down stops all")


def addresses(settings: Settings, parts: tuple[Part, ...]) -> Table:
    """Where the parts are to be reached, for people."""
    table = Table("", "address")
    rows = {
        "dashboard": ("Dashboard", settings.dashboard_address),
        "dagster-web": ("Dagster", settings.dagster_address),
        "endpoint": ("Prediction endpoint", settings.endpoint_address),
        "artemis": ("MQTT broker", settings.mqtt_device_address),
        "kafka": ("Kafka", settings.kafka_address),
        "postgres": ("PostgreSQL (mliot env has its password)", settings.postgres_address),
    }
    started = {part.name for part in parts}
    for name, (what, address) in rows.items():
        if name in started:
            table.add_row(what, without_password(address))
    return table


def without_password(address: str) -> str:
    """``address`` for people: whatever stands for a password in it, before the host or among the parameters, left out."""
    parts = urlsplit(address)
    user = f"{parts.username}@" if parts.username else ""
    query = "&".join(one for one in parts.query.split("&") if not one.partition("=")[0].endswith("password"))
    return parts._replace(netloc=user + parts.netloc.rpartition("@")[2], query=query).geturl()


def status_page(statuses: list[PartStatus], wrong: Sequence[str]) -> Group:
    """What is wrong with the whole, and one row a part."""
    return Group(*(safe(problem, "red") for problem in wrong), status_table(statuses))


def status_table(statuses: list[PartStatus]) -> Table:
    """One row a part."""
    now_ms = SystemClock().now_ms()
    table = Table("part", "state", "up", "rate/s", "lag", "MB", "", title=None)
    for one in statuses:
        table.add_row(
            one.name,
            f"[{COLOURS.get(one.state, 'red')}]{one.state}[/]",
            _span(one.up_s),
            _number(one.rate_per_s),
            "unknown" if one.lag is None and one.rate_per_s is not None else _number(one.lag),
            _number(one.memory_mb),
            safe(one.remark(now_ms)),
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _span(seconds: int | None) -> str:
    if seconds is None:
        return ""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
