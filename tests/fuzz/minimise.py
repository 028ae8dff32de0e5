"""Makes a failing input small (delta debugging, Zeller and Hildebrandt 2002): first fewer inputs, then fewer bytes of each."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mliot.clock import Deadline, SystemClock
from tests.fuzz.corpus import Input

T = TypeVar("T", Sequence[Input], bytes)
MAX_TRIES = 600
MAX_S = 20.0


class _Budget:
    """So many tries, within so much time."""

    def __init__(self, deadline: Deadline) -> None:
        self._tries = MAX_TRIES
        self._deadline = deadline

    def lasts(self) -> bool:
        self._tries -= 1
        return self._tries >= 0 and not self._deadline.passed()


def minimised(inputs: Sequence[Input], fails: Callable[[Sequence[Input]], bool]) -> list[Input]:
    """As few of ``inputs``, and of their bytes, as :func:`fails` still holds for."""
    budget = _Budget(Deadline.after(SystemClock(), MAX_S))
    kept = list(_smaller(tuple(inputs), fails, budget))
    for at, known in enumerate(kept):

        def fails_with(data: bytes, at: int = at, on: str = known.on) -> bool:
            return fails([*kept[:at], Input(on, data), *kept[at + 1 :]])

        kept[at] = Input(known.on, _smaller(known.data, fails_with, budget))
    return kept


def _smaller(whole: T, fails: Callable[[T], bool], budget: "_Budget") -> T:
    """Leaves out one part after another, halves first, as long as it still fails and the budget lasts."""
    size = len(whole) // 2
    while size:
        at = 0
        while at < len(whole) and budget.lasts():
            without = whole[:at] + whole[at + size :]
            if fails(without):
                whole = without
            else:
                at += size
        size //= 2
    return whole
