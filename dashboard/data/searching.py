"""Finds devices and places by a part of their name: those too that the overview has no room for."""

from dataclasses import dataclass

from psycopg.rows import class_row

from lineage.store import connected
from mliot.settings import Settings

MAX_FOUND = 100

_FIND = """
select device, place_id, event_ms, frame_id from mliot.frame_latest
where position(lower(%(name)s) in lower(device)) > 0 or position(lower(%(name)s) in lower(place_id)) > 0
order by event_ms desc, device limit %(most)s
"""


@dataclass(frozen=True)
class Found:
    """A device whose name, or whose place's name, was asked for, with its newest frame."""

    device: str
    place_id: str
    event_ms: int
    frame_id: str


def find_names(settings: Settings, name: str) -> tuple[Found, ...]:
    """At most :data:`MAX_FOUND` devices, those that were heard of last. Raises :class:`mliot.errors.Transient` where the store is away."""
    with connected(settings) as store, store.cursor(row_factory=class_row(Found)) as cursor:
        return tuple(cursor.execute(_FIND, {"name": name.strip(), "most": MAX_FOUND}).fetchall())
