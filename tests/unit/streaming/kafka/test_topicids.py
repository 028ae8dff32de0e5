"""What is committed beside an offset, and what is made of it in the same and in another incarnation of the topic."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.kafka.topicids import marked, position_of
from streaming.runtime.effects import Position

TOPIC_IDS = st.text("abcABC123-_", min_size=1, max_size=22)
NOTES = st.text(max_size=50).filter(lambda note: not note.startswith("@"))


@given(st.integers(0), NOTES, TOPIC_IDS | st.just(""))
def test_a_position_comes_back_as_it_was_committed(offset: int, note: str, topic_id: str) -> None:
    position = Position(offset, note, topic_id)
    assert position_of(offset, marked(position), topic_id) == position


@given(st.integers(0), NOTES, TOPIC_IDS, TOPIC_IDS)
def test_in_another_incarnation_it_is_the_beginning(offset: int, note: str, topic_id: str, other: str) -> None:
    expected = Position(offset, note, topic_id) if other == topic_id else Position(0, "", other)
    assert position_of(offset, marked(Position(offset, note, topic_id)), other) == expected


@given(st.integers(0), NOTES, TOPIC_IDS)
def test_an_id_that_is_not_known_is_no_reason_to_start_over(offset: int, note: str, topic_id: str) -> None:
    assert position_of(offset, note, topic_id) == Position(offset, note, topic_id), "committed by an earlier version"
    assert position_of(offset, marked(Position(offset, note, topic_id)), "") == Position(offset, note, ""), "a Kafka that tells none"
