"""Whether an MQTT broker still has the session that it was asked to keep: what it held for us is gone with it.

The first start ever has no session, which is no error; so that it was there once is noted in a file, which outlives the process.
"""

import threading
from pathlib import Path

import msgspec
import structlog

from mliot.clock import Clock

TOLD_FOR_MS = 86_400_000
"""How long a lost session is told of: a day, so that whoever looks once a day sees it."""

_log = structlog.get_logger(__name__)


class _Note(msgspec.Struct, frozen=True):
    broker: str
    lost_ms: int | None = None


class KnownSession:
    """The session ``name`` at ``broker`` (``host:port``), known from the note in ``folder``. Another broker's session is another one."""

    def __init__(self, folder: Path, name: str, broker: str, clock: Clock) -> None:
        self._path = folder / f"{name}.json"
        self._name, self._broker, self._clock = name, broker, clock
        self._lock = threading.Lock()
        self._note = self._read()

    def resumed(self, present: bool) -> None:
        """A connection was made; ``present`` is what the broker said of the session (MQTT 5, section 3.2.2.1.1)."""
        with self._lock:
            if present or self._note is None:
                return
            self._note = _Note(self._broker, self._clock.now_ms())
            self._write()
            _log.error("session lost", broker=self._broker, session=self._name, why=self._told())

    def subscribed(self) -> None:
        """The subscriptions stand: from now on the session is expected."""
        with self._lock:
            if self._note is None:
                self._note = _Note(self._broker)
                self._write()

    def notice(self) -> tuple[str, int] | None:
        """What is to be told of a session that was lost within the last day, and when that was noticed."""
        with self._lock:
            if self._note is None or self._note.lost_ms is None or self._clock.now_ms() - self._note.lost_ms > TOLD_FOR_MS:
                return None
            return self._told(), self._note.lost_ms

    def _told(self) -> str:
        return (
            f"the MQTT broker {self._broker} no longer had the session {self._name}: what it kept there for this service may be lost. "
            "Its data was deleted, the session ran out, or another client ended it; mliot audit names what is missing"
        )

    def _read(self) -> _Note | None:
        try:
            note = msgspec.json.decode(self._path.read_bytes(), type=_Note)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.error("note of a session cannot be read, so it is taken for known", file=str(self._path), why=str(error))
            return _Note(self._broker)
        return note if note.broker == self._broker else None

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(self._note))
            fresh.replace(self._path)
        except OSError as error:  # on the network thread, which must live: what is known in memory still holds
            _log.error("note of a session cannot be written", file=str(self._path), why=str(error))
