"""A seeded mutator: a seed makes the same inputs on every machine. Half of its changes are to bytes, half to the JSON they spell."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.fuzz.corpus import Input, giants

NOW_MS = 1_764_000_000_000
GIANT_SHARE = 1 / 4000
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    " ",
    "0",
    "a" * 64,
    "a" * 65,
    "room-1",
    "iot_sensor_0",
    "fan_speed",
    "x'; drop table frame;--",
    '"',
    "\\",
    "\0",
    "a\0b",
    "\u202egnirts",
    "\ufeff",
    "😀",
    "a/b",
    "#",
    "+",
    "../..",
    "{place_id}",
    "%s",
    "\ud800",
    "NaN",
    "1e308",
    "é" * 40,
    [],
    {},
    [[]],
    [1],
    0,
    1,
    2,
    3,
    -1,
    0.5,
    -0.0,
    20.5,
    61,
    101_325,
    1e308,
    -1e308,
    3.5e38,
    5e-324,
    1e16,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**30,
    10**400,
    float("nan"),
    float("inf"),
    NOW_MS,
    NOW_MS // 1000,
    NOW_MS + 300_000,
    NOW_MS - 10**11,
    253_402_300_800_000,
    "2025-11-24T16:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-14:00",
    "2025-11-24",
    "2025-W48-1",
    "24:00",
)
NAMES = (
    "id",
    "name",
    "place_id",
    "payload",
    "timestamp",
    "date",
    "temperature",
    "humidity",
    "pressure",
    "fan_speed",
    "Temperature",
    "x" * 63,
    "x" * 64,
    "a b",
    'q"',
    "\0",
    "",
    "object",
    "deviceInfo",
    "tags",
    "rssi",
    "command_id",
    "ok",
    "values",
    "value",
    "feature_id",
    "key",
    "at_ms",
)
TOKENS = (
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"\\",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"NaN",
    b"Infinity",
    b"1e400",
    b"-0.0",
    b"-",
    b"e",
    b".",
    b"9" * 40,
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x98\x80",
    b"null",
    b"true",
    b"\n",
    b"//",
    b"#",
    b"+",
)
Change = Callable[["Mutator", bytes], bytes]


class Mutator:
    """Inputs that come from ``corpus`` by a few changes each, drawn from ``rng``."""

    def __init__(self, corpus: Sequence[Input], rng: random.Random) -> None:
        self._corpus = corpus
        self._rng = rng
        self._topics = sorted({known.on for known in corpus})

    def draw(self) -> Input:
        """The next input; now and then one as it stands, one on another's topic, or a giant."""
        rng = self._rng
        known = rng.choice(self._corpus)
        on = rng.choice(self._topics) if rng.random() < 0.02 else known.on
        data = known.data
        if rng.random() < GIANT_SHARE:
            return Input(on, rng.choice(list(giants(data))))
        for _ in range(rng.choice((0, 0, 1, 1, 1, 1, 1, 2, 3, 5))):
            data = rng.choice(CHANGES)(self, data)
        return Input(on, data)

    # Changes to bytes

    def flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._rng.randrange(8)]) + data[at + 1 :]

    def insert(self, data: bytes) -> bytes:
        at = self._rng.randint(0, len(data))
        return data[:at] + self._rng.choice(TOKENS) + data[at:]

    def cut(self, data: bytes) -> bytes:
        at, end = self._span(data)
        return data[:at] + data[end:]

    def repeat(self, data: bytes) -> bytes:
        at, end = self._span(data)
        return data[:end] + data[at:end] * self._rng.choice((1, 1, 3, 40)) + data[end:]

    def splice(self, data: bytes) -> bytes:
        other = self._rng.choice(self._corpus).data
        return data[: self._rng.randint(0, len(data))] + other[self._rng.randint(0, len(other)) :]

    def recode(self, data: bytes) -> bytes:
        text = data.decode("utf-8", "replace")
        return self._rng.choice(
            (text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-8-sig"), text.encode("latin-1", "replace"))
        )

    def _span(self, data: bytes) -> tuple[int, int]:
        at = self._rng.randint(0, len(data))
        return at, min(len(data), at + self._rng.randint(1, 24))

    # Changes to the JSON that the bytes spell; bytes that spell none stay as they are

    def replace(self, data: bytes) -> bytes:
        return self._changed(data, lambda held, name: held.__setitem__(name, self._rng.choice(STRANGE)))

    def nudge(self, data: bytes) -> bytes:
        """A number that stays plausible: what is valid must go through, too."""

        def change(held: Any, name: Any) -> None:
            value = held[name]
            if isinstance(value, int | float) and not isinstance(value, bool):
                held[name] = value + self._rng.choice((-1, 1, 0.25, 1000, -60_000))
            else:
                held[name] = f"{value}{self._rng.randrange(10)}" if isinstance(value, str) else self._rng.choice(STRANGE)

        return self._changed(data, change)

    def remove(self, data: bytes) -> bytes:
        return self._changed(data, lambda held, name: held.__delitem__(name))

    def add(self, data: bytes) -> bytes:
        def change(held: Any, _: Any) -> None:
            if isinstance(held, dict):
                held[self._rng.choice(NAMES)] = self._rng.choice(STRANGE)

        return self._changed(data, change)

    def twice(self, data: bytes) -> bytes:
        """A key that is there twice, with two values."""
        return self._changed(data, lambda held, name: held.__setitem__(name, [held[name], _TWICE]) if isinstance(held, dict) else None)

    def _changed(self, data: bytes, change: Callable[[Any, Any], None]) -> bytes:
        try:
            body = json.loads(data)
            places = _places(body)
            if not places:
                return data
            change(*self._rng.choice(places))
            text = _spelled(body) if self._rng.random() < 0.5 else json.dumps(body, separators=(",", ":"))
        except (ValueError, OverflowError, RecursionError):
            return data
        return text.encode("utf-8", "surrogatepass")


_TWICE = "\x00twice"
CHANGES: tuple[Change, ...] = (
    Mutator.flip, Mutator.insert, Mutator.cut, Mutator.repeat, Mutator.splice, Mutator.recode,
    Mutator.replace, Mutator.replace, Mutator.nudge, Mutator.nudge, Mutator.remove, Mutator.add, Mutator.twice,
)  # fmt: skip


def _places(body: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) in ``body``."""
    found: list[tuple[Any, Any]] = []
    waiting = [body]
    while waiting:
        held = waiting.pop()
        inner = list(held.items()) if isinstance(held, dict) else list(enumerate(held)) if isinstance(held, list) else []
        found += [(held, name) for name, _ in inner]
        waiting += [value for _, value in inner]
    return found


def _spelled(body: Any) -> str:
    """``body`` as JSON with its characters as they are, and with the keys twice that :meth:`Mutator.twice` has marked."""
    if isinstance(body, dict):
        parts = []
        for name, value in body.items():
            key = json.dumps(name, ensure_ascii=False)
            values = [*value[:1], "2"] if isinstance(value, list) and value[1:] == [_TWICE] else [value]
            parts += [f"{key}:{_spelled(each)}" for each in values]
        return "{" + ",".join(parts) + "}"
    if isinstance(body, list):
        return "[" + ",".join(_spelled(value) for value in body) + "]"
    return json.dumps(body, ensure_ascii=False)
