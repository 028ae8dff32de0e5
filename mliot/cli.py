"""The ``mliot`` command line. Commands stand in modules by subject, each with ``register(app)``; here they are put together."""

import sys
from importlib.metadata import entry_points

import typer

from mliot.errors import MliotError, UserError

ABOUT = """
Machine learning on sensor data, from the device to a decision and back to the device.

[bold]The local stack[/bold] runs without Docker and without root: an MQTT broker, Kafka, PostgreSQL, Dagster, the prediction endpoint,
the services, a simulated fleet of devices and the operators' page. All of it listens on this machine only, and all that it keeps lies in
one folder ([cyan]MLIOT_HOME[/cyan], else .mliot).

  mliot up                       start everything, and print the addresses
  mliot status                   ask every part how it is
  mliot logs bridge -f           what a part writes, as it writes it
  mliot down                     stop everything; the data stays

[bold]Where a decision came from[/bold]

  mliot trace --device iot_sensor_0 --last     from the frame to the device's answer
  mliot audit                                  nothing missing, nothing twice
  mliot replay --sample 1000                   decide again from the log, and compare
  mliot deadletter list                        what could not be used, and why
  mliot measurements unknown                   what devices send under a name that nobody knows

Settings are variables [cyan]MLIOT_*[/cyan], or lines of a file .env; docs/settings.md names them all.
Exit codes: 0 well, 1 not well, 2 something for you to change, which is said in one line.
"""


COMMANDS = "mliot.commands"
"""Entry points of packages that this one does not import: each is a function that adds its commands to the command line."""


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(help=ABOUT, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
    for added in sorted(entry_points(group=COMMANDS), key=lambda added: added.name):
        added.load()(app)
    return app


def main() -> None:
    """Run the command line; an expected error is one line on standard error, and its exit code."""
    try:
        build()()
    except MliotError as error:
        typer.echo(f"mliot: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, UserError) else 1)


if __name__ == "__main__":
    main()
