"""How far the fleet has come, kept in a file: history goes out once, and a restart goes on where the broker's acknowledgements ended."""

from pathlib import Path

import msgspec

from mliot.errors import UserError

DAY_MS = 86_400_000


class Progress(msgspec.Struct, frozen=True):
    """``history_from_ms`` to ``live_from_ms`` is history; what the rooms' devices have to say up to ``sent_ms`` is acknowledged.

    ``replay`` is played with its history shifted to end at ``replay_from_ms``; it is acknowledged up to ``replay_sent_ms``.
    """

    history_from_ms: int
    live_from_ms: int
    sent_ms: int
    replay: str
    replay_from_ms: int
    replay_sent_ms: int

    @property
    def history_sent(self) -> bool:
        return self.sent_ms >= self.live_from_ms

    def reached(self, ms: int) -> "Progress":
        """The progress once everything up to ``ms`` is acknowledged; never back."""
        return msgspec.structs.replace(self, sent_ms=max(self.sent_ms, ms), replay_sent_ms=max(self.replay_sent_ms, ms))


def resumed(found: Progress | None, *, now_ms: int, history_days: float, replay: str) -> Progress:
    """Where a run starts: afresh, or where the last one ended; a replay other than the last one's begins now."""
    if found is None:
        return Progress(now_ms - round(history_days * DAY_MS), now_ms, 0, replay, now_ms, 0)
    if found.replay != replay:
        return msgspec.structs.replace(found, replay=replay, replay_from_ms=now_ms, replay_sent_ms=0)
    return found


def read_progress(path: Path) -> Progress | None:
    """What the last run left; None where there was none. Raises :class:`UserError` where the file cannot be used."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: {error}; delete it and the fleet sends its history again") from error


def write_progress(path: Path, progress: Progress) -> None:
    """By rename: a reader, or the next run, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(progress))
    part.replace(path)
