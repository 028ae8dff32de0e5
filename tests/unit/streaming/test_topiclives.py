"""What is committed beside an offset, and what is made of it in the same and in another life of the topic."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.ports import Position
from streaming.topiclives import marked, position_of

LIVES = st.text("abcABC123-_", min_size=1, max_size=22)
NOTES = st.text(max_size=50).filter(lambda note: not note.startswith("@"))


@given(st.integers(0), NOTES, LIVES | st.just(""))
def test_a_position_comes_back_as_it_was_committed(offset: int, note: str, life: str) -> None:
    position = Position(offset, note, life)
    assert position_of(offset, marked(position), life) == position


@given(st.integers(0), NOTES, LIVES, LIVES)
def test_in_another_life_it_is_the_beginning(offset: int, note: str, life: str, other: str) -> None:
    expected = Position(offset, note, life) if other == life else Position(0, "", other)
    assert position_of(offset, marked(Position(offset, note, life)), other) == expected


@given(st.integers(0), NOTES, LIVES)
def test_a_life_that_is_not_known_is_no_reason_to_start_over(offset: int, note: str, life: str) -> None:
    assert position_of(offset, note, life) == Position(offset, note, life), "committed by an earlier version"
    assert position_of(offset, marked(Position(offset, note, life)), "") == Position(offset, note, ""), "a Kafka that tells none"
