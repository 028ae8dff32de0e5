from statistics import fmean, pstdev

from hypothesis import given
from hypothesis import strategies as st

from devices.noise import gaussian, smooth, uniform


def test_the_same_question_has_the_same_answer_and_another_seed_another_one() -> None:
    assert uniform(1, "a", 5) == uniform(1, "a", 5)
    assert len({uniform(1, "a", 5), uniform(2, "a", 5), uniform(1, "b", 5), uniform(1, "a", 6)}) == 4


def test_moments() -> None:
    flat, bell = [uniform(1, "u", i) for i in range(5000)], [gaussian(1, "g", i) for i in range(5000)]
    assert abs(fmean(flat) - 0.5) < 0.02
    assert abs(fmean(bell)) < 0.05
    assert abs(pstdev(bell) - 1) < 0.05


@given(st.integers(0, 10**13), st.integers(60_000, 10**8))
def test_a_wave_stays_in_its_bounds_and_does_not_jump(at_ms: int, period_ms: int) -> None:
    now, next_ms = smooth(1, "w", at_ms, period_ms), smooth(1, "w", at_ms + 1, period_ms)
    assert -1 <= now <= 1
    assert abs(next_ms - now) < 4 / period_ms * 2
