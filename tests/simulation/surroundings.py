"""What stands around the services: a clock, a model server, and the fans that obey commands."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

from mliot.clock import ManualClock
from mliot.featuremodels import FeatureModels
from mliot.usecase import UseCase
from streaming.features.openwindows import OpenWindows
from streaming.runtime.effects import Champion, Champions, NotScored, Outgoing, Score, Scores
from streaming.simulated import SimulatedBroker, SimulatedModelServer


@dataclass
class WorldClock(ManualClock):
    """Time passes when the scheduler says so; a process that waits only falls asleep. ``skew_ms`` is how wrong the wall clock is."""

    skew_ms: int = 0
    slept_ms: int = 0

    def now_ms(self) -> int:
        return self.ms + self.skew_ms

    def advance(self, ms: int) -> None:
        self.slept_ms += ms


@dataclass
class Databases:
    """In-memory databases for features services, made once for many worlds: each service empties its own as it starts. Few of them, used
    again at once, stay in the processor's cache."""

    models: FeatureModels
    _made: list[OpenWindows] = field(default_factory=list)
    _free: list[OpenWindows] = field(default_factory=list)

    def take(self) -> OpenWindows:
        """One that nobody else of this world has."""
        if not self._free:
            self._made.append(OpenWindows(self.models))
            self._free.append(self._made[-1])
        return self._free.pop()

    def give_back(self, windows: OpenWindows) -> None:
        """Its process is dead."""
        self._free.append(windows)

    def free(self) -> None:
        """The world is over: all are free, the first made, and so the most used, to be taken first."""
        self._free = self._made[::-1]


WANTED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "fan_speed": (("temperature_avg",), ("humidity_max", "temperature_avg", "absolute_humidity_avg")),
    "water_flow": (("hour_sin", "water_flow_avg"), ("water_flow_max", "water_flow_avg", "weekday", "water_flow_lag_24")),
}
"""What a champion may want instead of what the use case declares: whoever edits its file sees such a one in charge for a while."""
GONE = "air_quality_avg"
"""A column that no feature model has any longer."""


@dataclass
class ModelServer:
    """Scores rows so that anybody can say what the answer must be. ``champion`` says whether there are models at all."""

    clock: WorldClock
    champion: bool
    use_cases: Mapping[str, UseCase]
    version: int = 1
    down_until_ms: int = 0
    slow_until_ms: int = 0

    def __post_init__(self) -> None:
        self.server = SimulatedModelServer(known=tuple(self.use_cases))
        self._wanted: dict[str, tuple[str, ...]] = {name: one.columns for name, one in self.use_cases.items()}
        self._broken_until: dict[str, int] = {}
        self._appoint()

    def champions(self, effect: Champions) -> Mapping[str, Champion | NotScored]:
        return self._asked().champions(effect)

    def score(self, effect: Score) -> Scores | NotScored:
        return self._asked().score(effect)

    def promote(self) -> None:
        """A new champion of every use case, that wants what it declares."""
        self.version += 1
        self.champion = True
        self._wanted = {name: one.columns for name, one in self.use_cases.items()}
        self._appoint()

    def want(self, use_case: str, columns: tuple[str, ...]) -> None:
        """The champion of ``use_case`` wants ``columns``, whatever is declared."""
        self.version += 1
        self._wanted[use_case] = columns
        self._appoint()

    def break_down(self, use_case: str, until_ms: int) -> None:
        """Until then the server refuses every row of ``use_case``, and of no other."""
        self._broken_until[use_case] = until_ms

    def recover(self) -> None:
        self.down_until_ms = self.slow_until_ms = 0
        self._broken_until.clear()
        if any(GONE in columns for columns in self._wanted.values()):
            self.promote()

    def _asked(self) -> SimulatedModelServer:
        if self.clock.ms < self.slow_until_ms:
            self.clock.advance(2_000)
        self.server.away = "the model server is down" if self.clock.ms < self.down_until_ms else ""
        self.server.fails = {name: lambda _: True for name, until_ms in self._broken_until.items() if self.clock.ms < until_ms}
        return self.server

    def _appoint(self) -> None:
        if not self.champion:
            return
        for name, one in self.use_cases.items():
            self.server.models[name] = (Champion(f"v{self.version}", one.features, self._wanted[name]), ANSWERS[name])


def _level(version: str, row: Mapping[str, float | None]) -> float:
    temperature = row["temperature_avg"] or 0.0
    return nan if temperature >= 38 else float((int(temperature) + int(version[1:])) % 4)


def _flow(version: str, row: Mapping[str, float | None]) -> float:
    return (row["water_flow_avg"] or 0.0) + int(version[1:])


ANSWERS = {"fan_speed": _level, "water_flow": _flow}


@dataclass
class Fans:
    """Each command is answered after a moment, or never; one that comes again is answered again. Some are out of reach for a while: the
    broker keeps their commands as long as these say. They look at no time themselves, and note in ``obeyed`` what they did, and when by
    the wall clock."""

    broker: SimulatedBroker
    rng: random.Random
    patience: float
    unreachable: float = 0.0
    seen: int = 0
    kept: list[tuple[int, int]] = field(default_factory=list)
    answers: list[tuple[int, str, bytes]] = field(default_factory=list)
    obeyed: list[tuple[str, int]] = field(default_factory=list)

    @property
    def at_rest(self) -> bool:
        """True where nothing is on its way to a device or from one."""
        return not self.answers and not self.kept and self.seen == len(self.broker.published)

    def obey(self, now_ms: int) -> None:
        for index in range(self.seen, len(self.broker.published)):
            away_ms = self.rng.randrange(40_000) if self.rng.random() < self.unreachable else 0
            self.kept.append((now_ms + away_ms, index))
        self.seen = len(self.broker.published)
        reached = [index for at_ms, index in self.kept if at_ms <= now_ms]
        self.kept = [kept for kept in self.kept if kept[0] > now_ms]
        for index in reached:
            if now_ms < self.broker.kept_until_ms[index]:
                self._obey(self.broker.published[index], now_ms)
        due = [answer for answer in self.answers if answer[0] <= now_ms]
        self.answers = [answer for answer in self.answers if answer[0] > now_ms]
        for _, topic, payload in due:
            self.broker.offer(topic, payload)

    def _obey(self, message: Outgoing, now_ms: int) -> None:
        command_id = json.loads(message.payload)["command_id"]
        self.obeyed.append((command_id, self.broker.clock.now_ms()))
        if self.rng.random() >= self.patience:
            answer = {"command_id": command_id, "ok": self.rng.random() < 0.8}
            self.answers.append((now_ms + self.rng.randrange(3_000), f"{message.topic}/ack", json.dumps(answer).encode()))
