"""The arithmetic of rows: which rows a frame belongs to, by id, without asking anybody. The grains are those that dbt declares."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mliot.featuremodels import KEY_SEPARATOR, CompiledModel, FeatureModels

_SPANS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"))


class Grain(NamedTuple):
    """A tumbling window: how long it is, and the columns of a frame that make its key."""

    name: str
    window_ms: int
    columns: tuple[str, ...]

    @classmethod
    def of(cls, model: CompiledModel) -> "Grain":
        return cls(model.grain, model.window_ms, model.key)

    @property
    def by_device(self) -> bool:
        return "device" in self.columns

    @property
    def span(self) -> str:
        """Its length for people: ``minute``, ``hour``, ``5 minutes``."""
        size, word = next((size, word) for size, word in _SPANS if self.window_ms % size == 0)
        count = self.window_ms // size
        return word if count == 1 else f"{count} {word}s"

    def key_sql(self, frames: str = "") -> str:
        """The key as SQL over the columns of the table ``frames``."""
        prefix = f"{frames}." if frames else ""
        return f" || '{KEY_SEPARATOR}' || ".join(f"{prefix}{column}" for column in self.columns)

    def values(self, key: str) -> Mapping[str, str]:
        """What the key's columns hold."""
        return dict(zip(self.columns, key.split(KEY_SEPARATOR), strict=True))

    def window_of(self, device: str, place_id: str, event_ms: int) -> "Span":
        """The one window of this grain that holds a frame of ``device`` at ``place_id``."""
        named = {"device": device, "place_id": place_id}
        key = KEY_SEPARATOR.join(named[column] for column in self.columns)
        start = event_ms - event_ms % self.window_ms
        return Span(f"{self.name}:{key}@{start}", self, key, start, start + self.window_ms)

    def parse(self, text: str) -> "Span | None":
        """The window that ``text``, an id without its grain, names; None where it names none."""
        key, _, start = text.rpartition("@")
        names = key.split(KEY_SEPARATOR)
        if not all(names) or len(names) != len(self.columns) or not (start.isdecimal() and start.isascii()) or int(start) % self.window_ms:
            return None
        return Span(f"{self.name}:{text}", self, key, int(start), int(start) + self.window_ms)


class Span(NamedTuple):
    """One window: its id, and the half-open span ``start_ms <= event_ms < end_ms`` that it covers."""

    id: str
    grain: Grain
    key: str
    start_ms: int
    end_ms: int


class Grains:
    """The grains that there are: ``windows`` by name, the shortest first, and ``frames``, the names of those of which a row is one frame.

    ``features`` is the grain of each feature model, by the model's name.
    """

    def __init__(self, windows: Iterable[Grain], frames: Iterable[str], features: Mapping[str, str]) -> None:
        ordered = sorted(windows, key=lambda grain: (grain.window_ms, not grain.by_device, grain.name))
        self.windows: Mapping[str, Grain] = {grain.name: grain for grain in ordered}
        self.frames = tuple(frames)
        self._features = features

    @classmethod
    def of(cls, models: FeatureModels) -> "Grains":
        """Those that ``models`` declare."""
        return cls(
            map(Grain.of, models.windows),
            (model.grain for model in models.features if not model.window_ms),
            {model.name: model.grain for model in models.features},
        )

    @property
    def shortest_of_places(self) -> Grain:
        """The shortest windows of a place, all its devices together."""
        return min((grain for grain in self.windows.values() if not grain.by_device), key=lambda grain: grain.window_ms)

    def of_rows(self, features: str) -> Grain | None:
        """The windows that rows of the feature model called ``features`` describe; None where they describe single frames."""
        return self.windows.get(self._features.get(features, ""))

    def windows_of(self, device: str, place_id: str, event_ms: int) -> Iterator[Span]:
        """The windows that a frame belongs to, one a grain."""
        return (grain.window_of(device, place_id, event_ms) for grain in self.windows.values())

    def rows_of_frame(self, frame_id: str) -> list[str]:
        """The ids of the rows that describe one frame by itself."""
        return [f"{grain}:{frame_id}" for grain in self.frames]

    def frame_of(self, feature_id: str) -> str | None:
        """The id of the frame that a row describes by itself; None where the row is of another grain."""
        grain, _, frame_id = feature_id.partition(":")
        return frame_id if grain in self.frames else None

    def window(self, id: str) -> Span | None:
        """The window that ``id`` names, or None where it is not the id of a window of a known grain."""
        name, _, rest = id.partition(":")
        grain = self.windows.get(name)
        return grain.parse(rest) if grain else None
