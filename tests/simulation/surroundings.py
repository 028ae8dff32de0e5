"""What stands around the services: a clock, a model server, and the fans that obey commands."""

import json
import random
from dataclasses import dataclass, field

from mliot.clock import ManualClock
from mliot.errors import Transient
from mliot.featuremodels import FeatureModels
from streaming.openwindows import OpenWindows
from streaming.ports import Outgoing, Score, Scored, Scores
from streaming.simulated import SimulatedBroker


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


@dataclass
class ModelServer:
    """Scores rows so that anybody can say what the answer must be."""

    clock: WorldClock
    champion: bool
    version: int = 1
    down_until_ms: int = 0
    slow_until_ms: int = 0

    def score(self, effect: Score) -> Scores | None:
        if self.clock.ms < self.down_until_ms:
            raise Transient("the model server is down")
        if self.clock.ms < self.slow_until_ms:
            self.clock.advance(2_000)
        if not self.champion:
            return None
        return Scores(f"v{self.version}", "f", [Scored(self._value(effect.use_case, row), 0.9) for row in effect.rows])

    def _value(self, use_case: str, row: dict) -> float:
        if use_case == "water_flow":
            return (row["water_flow_avg"] or 0.0) + self.version
        temperature = row["temperature_avg"] or 0.0
        return float("nan") if temperature >= 38 else float((int(temperature) + self.version) % 4)


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
