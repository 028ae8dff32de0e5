"""Frames of open windows, judged beside plain loops over every frame that was ever taken in."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.features.openframes import Arrived, OpenFrames

LONGEST, SHORTEST = 60, 10
frames = st.builds(
    Arrived, st.integers(0, 1), st.integers(0, 500), st.integers(0, 200), st.sampled_from([f"sensor@{n}#0" for n in range(30)]), st.just(0)
)
batches = st.lists(st.tuples(st.lists(frames, max_size=8, unique_by=lambda frame: frame[:2]), st.integers(0, 300)), max_size=12)


def end(frame: Arrived, window_ms: int) -> int:
    return (frame.event_ms // window_ms + 1) * window_ms


@given(batches)
def test_a_frame_is_known_late_or_used(batches: list[tuple[list[Arrived], int]]) -> None:
    opened, emitted, held = OpenFrames(LONGEST, SHORTEST), {0: 0, 1: 0}, []
    for arrived, watermark in batches:
        before = {frame.frame_id for frame in held}
        firsts = {frame.frame_id: frame for frame in reversed(arrived)}
        new = [frame for frame in arrived if frame.frame_id not in before and firsts[frame.frame_id] is frame]
        late = [frame for frame in new if end(frame, LONGEST) <= emitted[frame.kafka_partition]]
        used = [frame for frame in new if frame not in late]

        judged = opened.judge(arrived, emitted)

        assert (judged.fresh, judged.late, judged.used) == (len(new), len(late), len(used))
        assert judged.late_for_shortest == sum(end(frame, SHORTEST) <= emitted[frame.kafka_partition] for frame in used)
        assert judged.unwanted == [(frame.kafka_partition, frame.kafka_offset) for frame in arrived if frame not in used]
        held += used
        emitted = {0: max(emitted[0], watermark), 1: emitted[1] if watermark % 2 else max(emitted[1], watermark)}
        still = [frame for frame in held if end(frame, LONGEST) > emitted[frame.kafka_partition]]
        assert opened.forget(emitted) == len(held) - len(still)
        held = still
        assert opened.oldest() == {
            partition: min(frame.kafka_offset for frame in held if frame.kafka_partition == partition)
            for partition in {frame.kafka_partition for frame in held}
        }


def test_a_late_frame_is_late_again_but_not_within_its_batch() -> None:
    opened = OpenFrames(LONGEST, SHORTEST)
    frame = Arrived(0, 7, 59, "sensor@59#0", 59)
    twice = opened.judge([frame, frame._replace(kafka_offset=8)], {0: 60})
    assert (twice.fresh, twice.late, twice.unwanted) == (1, 1, [(0, 7), (0, 8)])
    assert [opened.judge([frame], {0: 60}).late for _ in range(2)] == [1, 1]


def test_nothing_is_left_once_it_is_cleared() -> None:
    opened = OpenFrames(LONGEST, SHORTEST)
    frame = Arrived(0, 7, 59, "sensor@59#0", 59)
    opened.judge([frame], {0: 0})
    opened.clear()
    assert opened.oldest() == {}
    assert opened.judge([frame], {0: 0}).used == 1
