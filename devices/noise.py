"""Randomness as a pure function of seed, name and time: the same history comes out again after a restart, in whatever order it is asked."""

from functools import lru_cache
from hashlib import blake2b
from math import cos, pi, sqrt

_WHOLE = 1 << 64


def uniform(seed: int, name: str, index: int) -> float:
    """A number in [0, 1) that belongs to (seed, name, index)."""
    return int.from_bytes(blake2b(f"{seed} {name} {index}".encode(), digest_size=8).digest(), "little") / _WHOLE


def gaussian(seed: int, name: str, index: int) -> float:
    """A number of mean 0 and standard deviation 1, nearly normal (the sum of four uniform ones: never beyond 3.5)."""
    bits = int.from_bytes(blake2b(f"{seed} {name} {index}".encode(), digest_size=16).digest(), "little")
    total = sum((bits >> shift) & 0xFFFFFFFF for shift in (0, 32, 64, 96)) / (1 << 32)
    return (total - 2) * sqrt(3)


def smooth(seed: int, name: str, at_ms: int, period_ms: int) -> float:
    """A wave in [-1, 1] without jumps that turns about once in ``period_ms``: value noise between random knots."""
    knot, within = divmod(at_ms, period_ms)
    before, after = _knot(seed, name, knot), _knot(seed, name, knot + 1)
    return before + (after - before) * (1 - cos(pi * within / period_ms)) / 2


@lru_cache(maxsize=65_536)
def _knot(seed: int, name: str, index: int) -> float:
    return 2 * uniform(seed, name, index) - 1
