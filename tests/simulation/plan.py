"""What a seed means: the fleet's messages, how often which fault happens, and what happens to the processes when."""

import json
import random
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

START_MS = 1_764_000_000_000 - 30_000
"""Half a minute before a full hour: a world of a minute and more closes minutes and an hour."""
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
MAX_AHEAD_MS = 5 * MINUTE - 21 * SECOND
"""What the bridge takes, though the platform's own clock be set back meanwhile."""
Kind = Literal["frame", "poison"]
ROOM = ("temperature", "humidity")


class Device(NamedTuple):
    name: str
    place: str
    measurements: tuple[str, ...]


FLEET = (
    Device("room-1-air", "room-1", (*ROOM, "pressure")),
    Device("room-1-door", "room-1", ROOM),
    Device("room-2-air", "room-2", ROOM),
    Device("iot_sensor_0", "000000000", (*ROOM, "fan_speed")),
    Device("pipe", "water-1", ("water_flow",)),
)


class Published(NamedTuple):
    """One MQTT message of a device. ``poison`` is one that must become a dead letter."""

    at_ms: int
    topic: str
    payload: bytes
    kind: Kind


class Happening(NamedTuple):
    """Something that befalls the platform at a time."""

    at_ms: int
    what: str
    whom: str = ""
    for_ms: int = 0


@dataclass(frozen=True)
class Plan:
    """All that is drawn before a world begins. ``shares`` are those of ``streaming.simulated.Faults``."""

    seed: int
    until_ms: int
    rows: int
    grace_ms: int
    idle_ms: int
    champion: bool
    messages: tuple[Published, ...]
    shares: dict[str, float]
    happenings: tuple[Happening, ...] = field(default=())
    step_crash: float = 0.0
    late_acks: float = 0.0
    unreachable: float = 0.0

    @property
    def refused(self) -> frozenset[str]:
        """The use cases whose rows could ever not be scored although there was a champion."""
        return frozenset(happening.whom for happening in self.happenings if happening.what in ("use case refused", "column gone"))

    @property
    def turned_back_ms(self) -> int:
        """By how much the clock was ever set back."""
        return self._clock_moved("clock back")

    @property
    def turned_on_ms(self) -> int:
        """By how much the clock was ever set on."""
        return self._clock_moved("clock on")

    def _clock_moved(self, what: str) -> int:
        return sum(happening.for_ms for happening in self.happenings if happening.what == what)


SHARES = {
    "abort": 0.05, "crash_before_commit": 0.03, "crash_in_commit": 0.01, "crash_after_commit": 0.04, "resend": 0.12, "late": 0.7,
    "timeout": 0.03, "slow": 0.08, "late_markers": 0.3, "away": 0.03, "unanswered": 0.1, "redeliver": 0.08,
}  # fmt: skip
GROUPED = ("features", "inference", "store", "commands")
"""Services of which a second instance may come and go."""
TRANSACTIONAL = ("features", "inference", "commands", "online")
ALL = ("bridge", *GROUPED, "online")
USE_CASES = ("fan_speed", "water_flow")
POISONED = ("stream-frame", "stream-feature", "stream-prediction", "stream-label", "stream-ack", "stream-command")


def plan_of(seed: int) -> Plan:
    rng = random.Random(f"plan {seed}")
    until_ms = START_MS + rng.choice((65, 65, 75, 125)) * SECOND
    clocks = _clocks(random.Random(f"clocks {seed}"))
    chosen = {fault: share for fault, share in SHARES.items() if rng.random() < 0.6}
    weight = rng.choice((0.5, 1, 2))
    return Plan(
        seed=seed,
        until_ms=until_ms,
        rows=rng.choice((12, 24, 48)),
        grace_ms=rng.choice((2, 5, 10)) * SECOND,
        idle_ms=rng.choice((3, 8, 20)) * SECOND,
        champion=rng.random() < 0.8,
        messages=tuple(_messages(rng, until_ms, clocks)),
        shares={fault: min(share * weight, 0.9) for fault, share in chosen.items()},
        happenings=tuple(sorted([*_happenings(rng, until_ms), *_refusals(random.Random(f"refusals {seed}"), until_ms)])),
        step_crash=rng.choice((0, 0.002, 0.006)),
        late_acks=rng.choice((0.0, 0.3)),
        unreachable=rng.choice((0.0, 0.3)),
    )


def frame(device: Device, event_ms: int, value: float) -> bytes:
    """A frame as a device publishes it; ``value`` sets all its readings."""
    readings = {"temperature": 20 + value, "humidity": 40 + value, "pressure": 100_000 + value, "water_flow": value}
    payload = {name: readings.get(name, int(value) % 4) for name in device.measurements} | {"timestamp": event_ms}
    return json.dumps({"id": device.name, "name": device.name, "place_id": device.place, "payload": payload}).encode()


def _clocks(rng: random.Random) -> dict[str, int]:
    """By how much each device's clock is ahead: of one in six anything from a day behind to as far ahead as is allowed."""
    wrong = (-DAY, -HOUR, -MINUTE, -5 * SECOND, 0, 5 * SECOND, MINUTE, MAX_AHEAD_MS)
    return {device.name: _between(rng, wrong) if rng.random() < 1 / 6 else 0 for device in FLEET}


def _between(rng: random.Random, steps: tuple[int, ...]) -> int:
    """Somewhere between two neighbours, any two as likely: so that small errors are drawn as well as large ones."""
    at = rng.randrange(len(steps) - 1)
    return rng.randint(steps[at], steps[at + 1])


def _messages(rng: random.Random, until_ms: int, clocks: dict[str, int]) -> list[Published]:
    found: list[Published] = []
    for device in FLEET:
        at_ms = START_MS + rng.randrange(10 * SECOND)
        silent = rng.random() < 0.15
        while at_ms < until_ms:
            event_ms = at_ms - rng.randrange(300)
            if rng.random() < 0.12:
                event_ms -= rng.randrange(40 * SECOND)  # it had no network for a while
            stamp_ms = event_ms + clocks[device.name]
            message = Published(at_ms, f"iot/{device.name}/frames", frame(device, stamp_ms, round(rng.uniform(0, 19.5), 1)), "frame")
            found.append(message)
            if rng.random() < 0.06:
                found.append(message._replace(at_ms=at_ms + rng.randrange(20 * SECOND)))  # the device missed the broker's answer
            at_ms += rng.randrange(10 * SECOND, 40 * SECOND)
            if silent and rng.random() < 0.3:
                at_ms += 40 * SECOND
    for number in range(rng.choice((0, 1, 3))):
        payload = rng.choice((b"{broken %d", b'{"id": "x", "payload": {"temperature": 1000, "n": %d}}', b'{"payload": {"n": %d}}')) % number
        found.append(Published(rng.randrange(START_MS, until_ms), "iot-frames-sensor", payload, "poison"))
    return sorted(found)


def _happenings(rng: random.Random, until_ms: int) -> list[Happening]:
    def sometime() -> int:
        return rng.randrange(START_MS, until_ms)

    found: list[Happening] = []
    for what, share, longest in (
        ("model server down", 0.3, 20), ("model server slow", 0.3, 20), ("store down", 0.3, 20), ("kafka away", 0.2, 10),
        ("mqtt away", 0.3, 100),  # of orders that live for 15 s: as ten minutes are to 90
        ("clock back", 0.15, 20), ("clock on", 0.15, 90), ("new champion", 0.3, 1),
    ):  # fmt: skip
        if rng.random() < share:
            found.append(Happening(sometime(), what, "", rng.randrange(longest * SECOND)))
    for service in GROUPED:
        if rng.random() < 0.35:
            found.append(Happening(sometime(), "second instance", service, rng.randrange(60 * SECOND)))
    for service in TRANSACTIONAL:
        found += [Happening(sometime(), "rebalance", service) for _ in range(rng.choice((0, 2, 6)))]
    for service in rng.sample(ALL, rng.choice((0, 1, 1, 2))):
        found.append(
            Happening(sometime(), rng.choice(("hang", "replaced while it hangs")), service, rng.randrange(2 * SECOND, 25 * SECOND))
        )
    found += [Happening(sometime(), "poison record", topic) for topic in POISONED if rng.random() < 0.15]
    return found


def _refusals(rng: random.Random, until_ms: int) -> list[Happening]:
    """What befalls one use case's model alone."""
    drawn = (("use case refused", 0.3), ("columns edited", 0.3), ("column gone", 0.15))
    return [
        Happening(rng.randrange(START_MS, until_ms), what, rng.choice(USE_CASES), rng.randrange(70 * SECOND))
        for what, share in drawn
        if rng.random() < share
    ]
