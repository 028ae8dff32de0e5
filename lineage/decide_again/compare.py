"""What was decided beside what is decided now, value by value. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Literal, NamedTuple

import msgspec

from learning.answers import PROBABILITY_DIGITS
from mliot.messages import Command, Feature, Message, Prediction, Window

Verdict = Literal["same", "close", "differs"]
Value = float | int | str | bool | None
RELATIVE = 1e-6
PROBABILITY_STEP = 1.5 * 10**-PROBABILITY_DIGITS
"""Probabilities are rounded when they are served: one unit of their last digit (and its own rounding) is no difference."""
NOT_DECIDED: Mapping[type[Message], frozenset[str]] = {
    Window: frozenset({"closed_by", "values"}),
    Feature: frozenset({"made_ms", "values"}),
    Prediction: frozenset({"made_ms"}),
    Command: frozenset(),
}
"""The fields that are no decision (when, and by which of the two clocks), and the values, which are compared one by one."""


class Compared(NamedTuple):
    """One value: which, what was served or stored, what is computed now, and whether they are equal (to the last bit, or within 1e-6)."""

    part: str
    name: str
    then: Value
    now: Value
    verdict: Verdict


@dataclass
class Tally:
    """How many values were compared, and those that are not the same to the last bit; all of them where ``keep``."""

    keep: bool = False
    compared: int = 0
    values: list[Compared] = field(default_factory=list)

    def add(self, part: str, then: Message, now: Message) -> None:
        """Compares two messages of one kind, field by field."""
        skipped = NOT_DECIDED[type(then)]
        fields = [name for name in then.__struct_fields__ if name not in skipped]
        if "values" in skipped:
            self._values(part, _values_of(then), _values_of(now))
        for name in fields:
            self._one(part, name, getattr(then, name), getattr(now, name))

    def note(self, part: str, name: str, then: Value, now: Value) -> None:
        """Compares one value."""
        self._one(part, name, then, now)

    @property
    def differ(self) -> list[Compared]:
        return [value for value in self.values if value.verdict == "differs"]

    @property
    def to_the_bit(self) -> bool:
        return all(value.verdict == "same" for value in self.values)

    def _values(self, part: str, then: Mapping[str, float], now: Mapping[str, float]) -> None:
        if not self.keep and then == now:
            self.compared += len(then)
            return
        for name in _names(then, now):
            self._one(part, name, then.get(name), now.get(name))

    def _one(self, part: str, name: str, then: Value, now: Value) -> None:
        self.compared += 1
        verdict = judge(name, then, now)
        if self.keep or verdict != "same":
            self.values.append(Compared(part, name, then, now, verdict))


def judge(name: str, then: Value, now: Value) -> Verdict:
    """Text, ids and missing values must be the same; numbers may differ by 1e-6 relative, probabilities by their last digit."""
    if then == now:
        return "same"
    if not isinstance(then, float) or not isinstance(now, float):
        return "differs"
    return "close" if isclose(then, now, rel_tol=RELATIVE, abs_tol=PROBABILITY_STEP if name == "probability" else 0.0) else "differs"


def _names(then: Mapping[str, float], now: Mapping[str, float]) -> Iterator[str]:
    yield from then
    yield from (name for name in now if name not in then)


def _values_of(message: Message) -> Mapping[str, float]:
    assert isinstance(message, Window | Feature), message
    return message.values


def as_builtins(value: Compared) -> dict[str, Value]:
    """For JSON."""
    return msgspec.to_builtins(value._asdict())  # type: ignore[no-any-return]
