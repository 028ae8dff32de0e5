"""Measurements of no known name, kept in their frames, but in no feature: counted by device as frames are stored, so that they show."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from mliot.frames import MEASUREMENT_NAME

MAX_NAMES = 32
"""So many different names are counted apart for one device; what it sends beyond them is counted together, under :data:`OTHERS`."""
OTHERS = ""

_LIST = """
select device, name, frames, first_ms, last_ms from mliot.unknown_measurement
where not name = any(%(known)s) order by last_ms desc, frames desc, device, name limit %(rows)s
"""


@dataclass(frozen=True)
class Unknown:
    """Frames of one device that carried a name nobody knows; ``first_ms`` and ``last_ms`` are when such a frame arrived."""

    device: str
    name: str
    frames: int
    first_ms: int
    last_ms: int


def read_unknown(store: Connection[Any], known: Collection[str], rows: int) -> list[Unknown]:
    """The newest ``rows`` of what is counted, without the names that have become ``known`` since."""
    with store.cursor(row_factory=class_row(Unknown)) as cursor:
        return cursor.execute(_LIST, {"known": list(known), "rows": rows}).fetchall()


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is most like, or None where it is like none."""
    return next(iter(get_close_matches(name.lower(), list(known), n=1)), None)


def counted(frames: Iterable[Mapping[str, Any]], known: Collection[str], held: Mapping[str, Collection[str]]) -> list[Unknown]:
    """What ``frames``, rows of the store's table, add to the counts. Pure.

    ``held`` are the names that are counted for a device already; a device has at most :data:`MAX_NAMES`. No name that a device may not
    send, which only a foreign writer can have put there, is kept.
    """
    own = {device: set(names) - {OTHERS} for device, names in held.items()}
    counts: Counter[tuple[str, str]] = Counter()
    times: dict[tuple[str, str], tuple[int, int]] = {}
    for frame in frames:
        names = own.setdefault(frame["device"], set())
        carried = set()
        for name in sorted(unknown_in(frame, known)):
            if name not in names and len(names) < MAX_NAMES and MEASUREMENT_NAME.fullmatch(name):
                names.add(name)
            carried.add(name if name in names else OTHERS)
        for name in carried:
            at = (frame["device"], name)
            first, last = times.get(at, (frame["arrived_ms"], frame["arrived_ms"]))
            counts[at] += 1
            times[at] = min(first, frame["arrived_ms"]), max(last, frame["arrived_ms"])
    return [Unknown(device, name, counts[device, name], *times[device, name]) for device, name in sorted(counts)]


def unknown_in(frame: Mapping[str, Any], known: Collection[str]) -> set[str]:
    """The names in a frame's payload that are not ``known``."""
    return set(frame["payload"]).difference(known)
