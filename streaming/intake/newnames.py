"""How many new names may come in an hour: devices, places and measurements that nobody declared.

MQTT tells a subscriber nothing of who published a message, and a device's name is whatever its frame says. What cannot be made up is the
subscription through which a frame came, its door: new names are counted by door.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import structlog

from mliot.frames import TOO_MANY_NEW
from mliot.messages import Frame
from mliot.settings import Settings

HOUR_MS = 3_600_000
SAVE_EVERY_MS = 60_000
MAX_KNOWN = 200_000
"""Names of a generation. Two are held: memory stays below some 50 MB, and a name is forgotten only after so many others came."""
KINDS = ("device", "place", "measurement")
MEASUREMENT_SHARE = 10
"""A site has so many more devices than names for what they measure."""


@dataclass
class NewNames:
    """The names that are known, and how many new ones came through each door in this hour, by the time that it is given."""

    a_hour: int
    """New devices, and as many new places, through one door; new measurements: the tenth part."""
    recent: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    older: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    learnt: bool = False
    """There are names that were not saved."""
    _hour: int = 0
    _came: Counter[tuple[str, str]] = field(default_factory=Counter)

    def refusal(self, frame: Frame, door: str, declared: Collection[str], now_ms: int) -> str:
        """Why the frame brings more new names than are allowed, or nothing; then its names are known from now on."""
        unknown = [name for name in frame.payload if name not in declared]
        named = {"device": (frame.device,), "place": (frame.place_id,), "measurement": unknown}
        new = {kind: [name for name in names if not self._knows(kind, name)] for kind, names in named.items()}
        if not any(new.values()):
            return ""
        if now_ms // HOUR_MS != self._hour:
            self._hour = now_ms // HOUR_MS
            self._came.clear()
        for kind, names in new.items():
            if names and self._came[door, kind] + len(names) > self.allowed(kind):
                return f"{TOO_MANY_NEW}{kind} names came through {door} in this hour; {self.allowed(kind)} are allowed (MLIOT_NEW_NAMES)"
        for kind, names in new.items():
            self._came[door, kind] += len(names)
            for name in names:
                self.learn(kind, name)
        self.learnt = True
        return ""

    def allowed(self, kind: str) -> int:
        return max(1, self.a_hour // MEASUREMENT_SHARE) if kind == "measurement" else self.a_hour

    def learn(self, kind: str, name: str) -> None:
        self.recent[kind].add(name)
        if len(self.recent[kind]) > MAX_KNOWN:
            self.older[kind], self.recent[kind] = self.recent[kind], set()

    def _knows(self, kind: str, name: str) -> bool:
        if name in self.recent[kind]:
            return True
        if name in self.older[kind]:
            self.learn(kind, name)
            return True
        return False


class NamesFile:
    """Keeps the known names over a restart, so that a fleet that is there already is not new: a line a name, at most two generations."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.home / "bridge" / f"names-{settings.instance}"
        self._due_ms = 0

    def read(self, a_hour: int) -> NewNames:
        names = NewNames(a_hour)
        if self._path.exists():
            for line in self._path.read_text("utf-8").splitlines():
                kind, _, name = line.partition(" ")
                if kind in KINDS:
                    names.learn(kind, name)
        return names

    def save(self, names: NewNames, now_ms: int) -> None:
        """Writes what is known, at most once a minute. Where it cannot, that is logged, and tried again with the next minute."""
        if not names.learnt or now_ms < self._due_ms:
            return
        self._due_ms = now_ms + SAVE_EVERY_MS
        fresh = self._path.with_suffix(".new")
        try:
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text("".join(f"{kind} {name}\n" for kind in KINDS for name in self._in_order(names, kind)), "utf-8")
            fresh.replace(self._path)
        except OSError as error:
            structlog.get_logger().warning("the known names could not be saved", path=str(self._path), reason=str(error))
        else:
            names.learnt = False

    @staticmethod
    def _in_order(names: NewNames, kind: str) -> list[str]:
        return [*(names.older[kind] - names.recent[kind]), *names.recent[kind]]
