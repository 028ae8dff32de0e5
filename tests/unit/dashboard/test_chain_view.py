"""The trace page's steps, and a dead letter's bytes as text."""

from dashboard.view.chain import SHOWN_BYTES, original_view, step_view
from lineage.trace import Node

AT = 1_764_000_000_000


def test_steps_carry_the_time_since_the_one_above_and_lead_to_their_own_trace() -> None:
    child = Node("prediction", "p#1", "fan_speed 2", AT + 60, 60, True, {"shadow": False, "low": None, "at_ms": AT})
    step = step_view(Node("feature", "f@1", "row", AT, 5200, False, {"values": {"b": 1.25, "a": 2.0}}, (child,)))
    assert (step.hop, step.trace, step.at, step.facts) == (
        "+5.2 s",
        "/trace/f%401",
        "2025-11-24 16:00:00.000 UTC",
        (("values", "a 2, b 1.25"),),
    )
    (below,) = step.children
    assert (below.hop, below.trace, below.subject) == ("+60 ms", "", True)
    assert below.facts == (("shadow", "no"), ("low", "none"), ("at ms", "2025-11-24 16:00:00.000 UTC"))


def test_a_window_lists_its_first_frames_and_counts_the_others() -> None:
    listed = [{"frame_id": "d@1#a", "event_ms": AT, "address": "stream-frame-0-1"}]
    step = step_view(Node("frames", "w", "3 frames", AT, fields={"count": 3, "frames": listed}))
    assert (step.frames[0].id, step.more_frames, step.facts) == ("d@1#a", 2, (("count", "3"),))


def test_text_is_shown_as_text_and_whatever_is_not_printable_is_escaped() -> None:
    assert original_view(b'<b>\tx</b>\n{"a": "\xe2\x80\xae"}') == ('<b>\\tx</b>\n{"a": "\\u202e"}', "22 bytes")
    assert original_view(b"\xff\x00A")[0] == f"00000000  {'ff 00 41':<47}  ..A"
    assert original_view(b"\x1b[2J")[0].startswith("00000000")


def test_a_long_record_says_what_is_left_out() -> None:
    shown, size = original_view(b"x" * (SHOWN_BYTES + 1))
    assert len(shown) == SHOWN_BYTES
    assert size == "4,097 bytes; the first 4,096 are shown, `mliot deadletter show --whole` shows all"
