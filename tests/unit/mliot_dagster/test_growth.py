"""When a refresh is worth its minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot_dagster.growth import GROWN_BY, Seen, declared, reason_to_refresh
from usecases import load_use_cases


def play(looks: list[int], *, champion_after: int | None = 1) -> list[int]:
    """The looks (by number) at which a refresh was asked for; the first champion stands after so many refreshes."""
    seen, asked = Seen(), []
    for number, now in enumerate(looks):
        lacking = [] if champion_after is not None and len(asked) >= champion_after else ["first"]
        reason = reason_to_refresh(seen, now, lacking)
        seen = seen.after(now, lacking, reason)
        asked += [number] if reason else []
    return asked


@pytest.mark.parametrize(
    ("looks", "asked"),
    [
        # history pours in, then the trickle of live frames: the first refresh waits for the history's end
        ([0, 4_000, 30_000, 41_000, 41_045, 41_090], [4]),
        # nothing at all
        ([0, 0, 0], []),
        # with a champion: each time there is enough
        ([30_000, 30_000, 30_000 + GROWN_BY - 1, 30_000 + GROWN_BY, 30_001 + GROWN_BY, 30_000 + 2 * GROWN_BY], [1, 3, 5]),
        # the topics were made anew
        ([30_000, 30_000, 50, 51], [1, 2]),
    ],
)
def test_refreshes(looks: list[int], asked: list[int]) -> None:
    assert play(looks) == asked


def test_a_first_champion_is_tried_again_only_once_there_is_notably_more() -> None:
    assert play([1000, 1000, 1010, 1099, 1100, 1105], champion_after=None) == [1, 5]


def test_a_use_case_that_is_added_later_is_trained_at_once_and_then_as_the_others() -> None:
    seen = Seen(looked=30_000, asked=30_000, tried=("first",))
    reason = reason_to_refresh(seen, 30_100, ["second"])
    assert reason == "second: no champion yet, 30100 records to learn from"
    assert reason_to_refresh(seen.after(30_100, ["second"], reason), 30_150, ["second"]) is None


def test_a_use_case_that_was_refused_is_trained_at_once_when_it_is_declared_anew() -> None:
    refused = load_use_cases()["fan_speed"]
    mended = refused.model_copy(update={"columns": refused.columns[:2]})
    assert declared(refused) == declared(load_use_cases()["fan_speed"])
    seen = Seen().after(30_000, [declared(refused)], "a reason")
    assert reason_to_refresh(seen, 30_100, [declared(refused)]) is None
    assert reason_to_refresh(seen, 30_100, [declared(mended)]) == "fan_speed: no champion yet, 30100 records to learn from"


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=200))
def test_refreshes_do_not_pile_up(steps: list[int]) -> None:
    looks = [sum(steps[: number + 1]) for number in range(len(steps))]
    assert len(play(looks)) <= 1 + looks[-1] / GROWN_BY
