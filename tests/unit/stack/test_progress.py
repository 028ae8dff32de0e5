"""How far the path has come, in words."""

from dataclasses import replace

import pytest

from stack.progress import Decision, Progress

NOTHING = Progress(frames=0, features=0, predictions=0, decisions=())
QUEUED = Decision("c1", "room-1", "room-1-fan", "fan_speed", 2.0, "v1", "queued", 1000, 1000)
ACKED = replace(QUEUED, command_id="c0", state="acked", at_ms=1400)


@pytest.mark.parametrize(
    ("progress", "says"),
    [
        (NOTHING, "no frame is stored yet"),
        (replace(NOTHING, frames=1), "no feature row is stored yet"),
        (replace(NOTHING, frames=1, features=1), "no model is in charge yet"),
        (replace(NOTHING, frames=1, features=1, predictions=1), "no prediction became a command yet"),
        (replace(NOTHING, frames=1, features=1, predictions=1, decisions=(QUEUED,)), "no command is acked yet"),
    ],
)
def test_the_first_step_that_is_missing_is_named(progress: Progress, says: str) -> None:
    assert progress.missing().startswith(says)
    assert progress.whole_chain is None


def test_the_newest_acked_command_is_a_whole_chain() -> None:
    older = replace(ACKED, command_id="c-older")
    assert replace(NOTHING, decisions=(QUEUED, ACKED, older)).whole_chain == ACKED
