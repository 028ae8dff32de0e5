"""The grains of feature rows and the arithmetic of their windows: which rows a frame belongs to, by id, without asking anybody."""

from collections.abc import Iterator
from typing import NamedTuple

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
FRAME_GRAIN = "sensor_frame"


class Grain(NamedTuple):
    """A tumbling window: how long it is, and whether a device or a place is its key."""

    name: str
    window_ms: int
    by_device: bool
    span: str

    def window_of(self, device: str, place_id: str, event_ms: int) -> "Span":
        """The one window of this grain that holds a frame of ``device`` at ``place_id``."""
        start = event_ms - event_ms % self.window_ms
        key = device if self.by_device else place_id
        return Span(f"{self.name}:{key}@{start}", self.name, key, start, start + self.window_ms)


class Span(NamedTuple):
    """One window: its id, and the half-open span ``start_ms <= event_ms < end_ms`` that it covers."""

    id: str
    grain: str
    key: str
    start_ms: int
    end_ms: int


GRAINS: dict[str, Grain] = {
    grain.name: grain
    for grain in (
        Grain("sensor_1m", MINUTE_MS, by_device=True, span="minute"),
        Grain("place_1m", MINUTE_MS, by_device=False, span="minute"),
        Grain("place_1h", HOUR_MS, by_device=False, span="hour"),
    )
}


def frame_feature_id(frame_id: str) -> str:
    """The id of the feature row that describes one frame."""
    return f"{FRAME_GRAIN}:{frame_id}"


def windows_of(device: str, place_id: str, event_ms: int) -> Iterator[Span]:
    """The windows that a frame belongs to, one a grain."""
    return (grain.window_of(device, place_id, event_ms) for grain in GRAINS.values())


def parse_window_id(text: str) -> Span | None:
    """The window that ``text`` names, or None where it is not the id of a window of a known grain."""
    name, _, rest = text.partition(":")
    key, _, start = rest.rpartition("@")
    grain = GRAINS.get(name)
    if grain is None or not key or not start.isdecimal() or not start.isascii() or int(start) % grain.window_ms:
        return None
    return Span(text, name, key, int(start), int(start) + grain.window_ms)
