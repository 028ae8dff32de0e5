"""A table of recorded readings, played over MQTT: ``python -m devices.recorded [MAPPING] [--speed N] [--shift | --keep]``."""

import signal
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import structlog
import typer

from devices.mapping import load_recording
from devices.outgoing import Outgoing
from devices.publisher import Publisher, apart_ms
from devices.table import Row, Table, read_rows, shifted
from mliot.clock import Clock, SystemClock
from mliot.errors import UserError
from mliot.frames import LATEST_AHEAD_MS
from mliot.journal import Journal
from mliot.logs import configure
from mliot.measurements import load_measurements
from mliot.mqtt import MqttClient
from mliot.settings import Settings

BUILT_IN = "water_flow"
MAX_MS = 2**62

_log = structlog.get_logger(__name__)


class Due(NamedTuple):
    """A message and when it is to be sent, ms."""

    at_ms: int
    outgoing: Outgoing


def paced(table: Table, *, started_ms: int, speed: float, keep: bool) -> Iterator[Due]:
    """The table's frames with the moments to send them.

    Shifted times are the moments themselves (what lies before the start goes at once). Kept times follow each other from the start on,
    ``speed`` times as fast as recorded. A speed of 0 waits for nothing.
    """
    first = table.times[0]
    for outgoing in table.frames(first - 1, MAX_MS):
        if speed == 0:
            yield Due(started_ms, outgoing)
        elif keep:
            yield Due(started_ms + round((outgoing.event_ms - first) / speed), outgoing)
        else:
            yield Due(max(started_ms, outgoing.event_ms), outgoing)


def run(settings: Settings, name: str, stop: threading.Event, clock: Clock, *, speed: float = 1.0, keep: bool = False) -> int:
    """Plays the mapping ``name`` to its end or until ``stop``; the number of messages that the broker acknowledged.

    Raises :class:`UserError` for what a person must change first.
    """
    recording = load_recording(name)
    rows, mapping, now_ms = read_rows(recording), recording.mapping, clock.now_ms()
    if keep:
        _check_kept(recording.name, rows, settings, now_ms)
        times = [row.at_ms for row in rows]
    else:
        live_rows = mapping.live_rows if speed else 0
        times = shifted(rows, live_rows=live_rows, speed=speed or 1, now_ms=now_ms, align_ms=mapping.align_s * 1000)
    table = Table(recording, rows, times, load_measurements(settings.measurements))
    client = MqttClient(settings.mqtt_address, f"mliot-replay-{recording.name}")
    with Journal(settings.journal_path, f"replay-{recording.name}") as journal:
        client.start()
        publisher = Publisher(client, journal, clock, stop, apart_ms=apart_ms(settings))
        try:
            for due in paced(table, started_ms=now_ms, speed=speed, keep=keep):
                if stop.wait(max(0, due.at_ms - clock.now_ms()) / 1000) or not publisher.send(due.outgoing):
                    break
        finally:
            left = publisher.stop()
            _log.info("stopped", acknowledged=publisher.acked, unconfirmed=left)
    return publisher.acked


def _check_kept(name: str, rows: list[Row], settings: Settings, now_ms: int) -> None:
    """Kept times must be ones that the platform takes: else every row would end as a dead letter."""
    if rows[0].at_ms < now_ms - settings.retention_ms:
        raise UserError(f"{name}: begins before the retention of {settings.retention_days} days; raise MLIOT_RETENTION_DAYS or use --shift")
    if rows[-1].at_ms > now_ms + LATEST_AHEAD_MS:
        raise UserError(f"{name}: ends in the future; use --shift")


def _command(
    mapping: Annotated[str, typer.Argument(help="Path of a mapping file, or the name of a built-in one.")] = BUILT_IN,
    speed: Annotated[float, typer.Option(min=0, help="How many times as fast as recorded; 0: as fast as the broker takes it.")] = 1.0,
    keep: Annotated[bool, typer.Option("--keep/--shift", help="Keep the recorded times, or shift them to now.")] = False,
) -> None:
    """Play a table of recorded readings as frames of one device over MQTT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.read()
        configure(settings, service="replay")
        run(settings, mapping, stop, SystemClock(), speed=speed, keep=keep)
    except UserError as error:
        sys.stderr.write(f"mliot replay: {error}\n")
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(_command)
