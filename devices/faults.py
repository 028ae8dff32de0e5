"""Faults that simulated sensors can have, by QARTOD's names where it has one. Pure but for what a stuck sensor remembers.

gap: nothing is sent;  stuck (flat line): the same values again and again;  spike: one value far off, still plausible;
drift: temperature creeps away, half a degree an hour;  bad_json: a message cut short on the way.
"""

from collections.abc import Mapping

from devices.noise import uniform
from devices.outgoing import Outgoing, broken

MINUTE_MS = 60_000
EPISODES: Mapping[str, tuple[int, float]] = {"gap": (15, 0.06), "stuck": (25, 0.06), "drift": (12 * 60, 0.3)}
"""Faults that last: length of an episode in minutes, and how likely a device is in one."""
SPIKE_CHANCE = 0.004
BAD_JSON_CHANCE = 0.004
DRIFT_C_PER_HOUR = 0.5
SPIKES: Mapping[str, float] = {"temperature": 22.0, "humidity": -25.0, "pressure": -2500.0, "luminosity": 9000.0, "fan_current": 2500.0}
"""How far off a spike is, in the measurement's unit."""


class Faults:
    """The faults of ``kinds`` (none by default) that devices have under ``seed``."""

    def __init__(self, seed: int, kinds: frozenset[str] = frozenset()) -> None:
        self._seed = seed
        self._kinds = kinds
        self._stuck: dict[str, tuple[int, Mapping[str, float]]] = {}

    def readings(self, device: str, at_ms: int, true: Mapping[str, float]) -> Mapping[str, float] | None:
        """What ``device`` reports in place of the ``true`` readings; None where it reports nothing."""
        if self._episode("gap", device, at_ms) is not None:
            return None
        seen = dict(true)
        drift = self._episode("drift", device, at_ms)
        if drift is not None and "temperature" in seen:
            into_h = (at_ms / MINUTE_MS / EPISODES["drift"][0] - drift) * EPISODES["drift"][0] / 60
            seen["temperature"] = round(seen["temperature"] + DRIFT_C_PER_HOUR * into_h, 2)
        stuck = self._episode("stuck", device, at_ms)
        if stuck is not None:
            if self._stuck.get(device, (None,))[0] != stuck:
                self._stuck[device] = (stuck, seen)
            seen = dict(self._stuck[device][1])
        if "spike" in self._kinds and uniform(self._seed, f"spike {device}", at_ms) < SPIKE_CHANCE:
            name = next((name for name in SPIKES if name in seen), None)
            if name is not None:
                seen[name] = max(0.0, seen[name] + SPIKES[name])
        return seen

    def message(self, device: str, sound: Outgoing) -> Outgoing:
        """``sound``, or what is left of it where it was cut short."""
        if "bad_json" in self._kinds and uniform(self._seed, f"bad_json {device}", sound.event_ms) < BAD_JSON_CHANCE:
            return broken(sound, sound.message[: len(sound.message) * 3 // 4])
        return sound

    def _episode(self, kind: str, device: str, at_ms: int) -> int | None:
        """The number of the episode that ``device`` is in."""
        if kind not in self._kinds:
            return None
        minutes, chance = EPISODES[kind]
        number = at_ms // (minutes * MINUTE_MS)
        return number if uniform(self._seed, f"{kind} {device}", number) < chance else None
