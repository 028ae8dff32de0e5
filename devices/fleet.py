"""The simulated fleet, rooms and replay in one process: ``python -m devices.fleet``. History first, at full speed, then live.

Rooms are simulated in :mod:`devices.places`; here are the connection, the clock and the commands that come in.
"""

import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import msgspec
import structlog

from devices.fan import Fan
from devices.faults import Faults
from devices.history import merged
from devices.mapping import load_recording
from devices.outgoing import Outgoing
from devices.places import rooms
from devices.progress import Progress, read_progress, resumed, write_progress
from devices.publisher import Publisher, apart_ms
from devices.table import Table, read_rows, shifted
from mliot.clock import Clock, SystemClock
from mliot.errors import Rejected, Transient, UserError
from mliot.journal import Journal
from mliot.logs import configure
from mliot.measurements import load_measurements
from mliot.mqtt import MqttClient, Received
from mliot.services import ServiceStatus, listening
from mliot.settings import Settings

SERVICE = "fleet"
HISTORY_PERIOD_MS = 60_000
MAX_GAP_MS = 3_600_000
"""A fleet that was down for longer leaves the gap: its devices were off."""
HISTORY_CHUNK = 10_000
"""Frames of history after which the progress is kept."""
POLL_S = 0.2
SAVE_EVERY_S = 5.0

_log = structlog.get_logger(__name__)


class Fleet:
    """All sources of one process: ``places`` and, where ``settings.replay`` names one, a replayed table."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        kinds = frozenset(part.strip() for part in settings.fleet_faults.split(",") if part.strip())
        self.places = rooms(settings.fleet_rooms, settings.seed, Faults(settings.seed, kinds))
        self._table = _table(settings, progress.replay_from_ms) if settings.replay else None
        self._fans = {place.fan.command_topic: place.fan for place in self.places}

    @property
    def command_topics(self) -> Sequence[str]:
        return tuple(self._fans)

    def fan(self, command_topic: str) -> Fan:
        return self._fans[command_topic]

    def table_frames(self, after_ms: int, to_ms: int) -> Sequence[Iterator[Outgoing]]:
        """The replay's frames of a span as a stream; none where nothing is replayed."""
        return [self._table.frames(after_ms, to_ms)] if self._table else []


def _table(settings: Settings, now_ms: int) -> Table:
    recording = load_recording(settings.replay)
    rows, mapping = read_rows(recording), recording.mapping
    times = shifted(rows, live_rows=mapping.live_rows, speed=1, now_ms=now_ms, align_ms=mapping.align_s * 1000)
    return Table(recording, rows, times, load_measurements(settings.measurements))


class Run:
    """One run of the fleet, from where the last one ended until ``stop``."""

    def __init__(self, settings: Settings, stop: threading.Event, clock: Clock, status: ServiceStatus, journal: Journal) -> None:
        self._file = settings.home / "fleet.json"
        self._progress = resumed(
            read_progress(self._file), now_ms=clock.now_ms(), history_days=settings.fleet_history_days, replay=settings.replay
        )
        write_progress(self._file, self._progress)
        self._period_ms = max(1, round(settings.fleet_period_s * 1000))
        self._stop, self._clock, self._status = stop, clock, status
        self._fleet = Fleet(settings, self._progress)
        self._commands: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._client = MqttClient(settings.mqtt_address, f"mliot-{SERVICE}", on_message=self._commands.put)
        self._publisher = Publisher(self._client, journal, clock, stop, apart_ms=apart_ms(settings), status=status)

    def play(self) -> None:
        """Publishes history, where it is not out yet, then what happens; returns once told to stop and disconnected."""
        self._client.start(self._fleet.command_topics)
        try:
            if self._progress.history_sent or self._history():
                self._live()
        finally:
            self._status.stopping()
            left = self._publisher.stop()
            if not left:
                self._save(self._publisher.acked_event_ms)
            _log.info("stopped", acknowledged=self._publisher.acked, unconfirmed=left)

    def _history(self) -> bool:
        now = self._progress
        rooms_again = (place.frames(now.history_from_ms, now.live_from_ms, HISTORY_PERIOD_MS) for place in self._fleet.places)
        unsent = ((outgoing for outgoing in stream if outgoing.event_ms > now.sent_ms) for stream in rooms_again)
        started = self._clock.monotonic()
        history = merged([*unsent, *self._fleet.table_frames(now.replay_sent_ms, now.live_from_ms)])
        while chunk := list(islice(history, HISTORY_CHUNK)):
            if not self._publisher.send_all(chunk):
                return False
            self._save(self._publisher.acked_event_ms)
        if self._publisher.drain():
            return False
        seconds = self._clock.monotonic() - started
        _log.info("history sent", frames=self._publisher.acked, per_s=round(self._publisher.acked / max(seconds, 1e-3)))
        self._save(now.live_from_ms)
        return True

    def _live(self) -> None:
        rooms_after = max(self._progress.sent_ms, self._clock.now_ms() - MAX_GAP_MS)
        table_after = self._progress.replay_sent_ms
        self._warm_up(rooms_after)
        save_at = 0.0
        while not self._stop.is_set():
            to_ms = max(self._clock.now_ms(), rooms_after)
            due = [place.frames(rooms_after, to_ms, self._period_ms) for place in self._fleet.places]
            if not self._publisher.send_all(merged([*due, *self._fleet.table_frames(table_after, to_ms)])):
                return
            rooms_after = table_after = to_ms
            self._publisher.tell()
            if self._clock.monotonic() >= save_at:
                self._save(to_ms if self._client.unconfirmed == 0 else self._publisher.acked_event_ms)
                save_at = self._clock.monotonic() + SAVE_EVERY_S
            self._obey()

    def _warm_up(self, to_ms: int) -> None:
        """Lets every room go on until ``to_ms``, before any of them is heard: thousands take half a minute, after which windows that the
        first few had begun would be closed."""
        started = self._clock.monotonic()
        for place in self._fleet.places:
            if self._stop.is_set():
                return
            place.advance(to_ms)
        _log.info("rooms go on", rooms=len(self._fleet.places), seconds=round(self._clock.monotonic() - started, 1))

    def _obey(self) -> None:
        """Hands the commands that have come to their fans, all of them: a thousand fans get a thousand commands at once.

        While the broker is away they stay where they are, so that waiting for it to take each answer does not hold up the rooms; nor do
        those that come meanwhile.
        """
        with suppress(queue.Empty):
            self._answer(self._commands.get(timeout=POLL_S))
            for _ in range(self._commands.qsize()):
                if self._stop.is_set() or self._client.away is not None:
                    return
                self._answer(self._commands.get_nowait())

    def _answer(self, received: Received) -> None:
        fan = self._fleet.fan(received.topic)
        try:
            answer = fan.obey(received.payload, self._clock.now_ms())
            self._publisher.answer(fan.ack_topic, msgspec.json.encode(answer))
        except (Rejected, Transient) as error:
            self._status.error(f"{received.topic}: {error}")
            _log.warning("command not answered", topic=received.topic, why=str(error))
        else:
            _log.info("command", device=fan.device, id=answer.command_id, ok=answer.ok, reason=answer.reason)

    def _save(self, sent_ms: int) -> None:
        self._progress = self._progress.reached(sent_ms)
        write_progress(self._file, self._progress)


def run(settings: Settings, stop: threading.Event, clock: Clock) -> None:
    """Publishes until ``stop`` is set. Raises :class:`UserError` for what a person must change first."""
    status = ServiceStatus(SERVICE, clock)
    with Journal(settings.journal_path, SERVICE) as journal, listening(status, settings):
        Run(settings, stop, clock, status, journal).play()


def main() -> int:
    """The process: settings from the environment, SIGTERM and SIGINT stop it; 0, or the error's exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.read()
        configure(settings, service=SERVICE)
        run(settings, stop, SystemClock())
    except UserError as error:
        sys.stderr.write(f"mliot {SERVICE}: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
