"""Which topics a filter matches, and which filters match one together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from streaming.intake.topicfilters import TopicFilter

levels = st.sampled_from(["a", "b", "", "+"])
filters = st.builds(
    lambda parts, rest: "/".join([*parts, *rest]), st.lists(levels, min_size=1, max_size=4), st.sampled_from([[], ["#"]])
).filter(bool) | st.just("#")
topics = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5).map("/".join).filter(bool)


@given(filters, topics)
def test_a_filter_matches_what_the_client_library_says(text: str, topic: str) -> None:
    assert TopicFilter.of(text).matches(topic.split("/")) == topic_matches_sub(text, topic)


@given(filters, filters, st.lists(topics, max_size=20))
def test_filters_that_match_one_topic_overlap(one: str, other: str, some: list[str]) -> None:
    a, b = TopicFilter.of(one), TopicFilter.of(other)
    assert a.overlaps(b) == b.overlaps(a)
    assert a.overlaps(a)
    assert a.overlaps(b) or not any(topic_matches_sub(one, topic) and topic_matches_sub(other, topic) for topic in some)


@given(filters, filters)
def test_filters_that_overlap_match_one_topic(one: str, other: str) -> None:
    """A common topic: level by level the one that is no wildcard, where both go on."""
    a, b = TopicFilter.of(one), TopicFilter.of(other)
    if not a.overlaps(b):
        return
    longest = max(len(a.levels), len(b.levels))
    shortest = min(len(each.levels) for each in (a, b) if each.levels[-1] != "#") if not a.levels[-1] == b.levels[-1] == "#" else longest
    at = [[each.levels[n] for each in (a, b) if n < len(each.levels)] for n in range(shortest)]
    common = [next((level for level in level_of if level not in ("+", "#")), "x") for level_of in at]
    assert a.matches(common)
    assert b.matches(common)


@pytest.mark.parametrize(
    ("text", "found"),
    [("iot/{device}/frames", "iot/+/frames"), ("{a}/{b}", "+/+"), ("acme/#", "acme/#"), ("a{b}/c", "a{b}/c"), ("iot-frames", "iot-frames")],
)
def test_a_level_may_have_a_name(text: str, found: str) -> None:
    assert TopicFilter.of(text).text == found


@pytest.mark.parametrize("text", ["", "a/b+", "a/#/b", "a#", "$SYS/x", "$share/g/a", "a\0b", "a" * 65_536])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|stands for"):
        TopicFilter.of(text)
