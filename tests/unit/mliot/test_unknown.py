"""Measurements of no known name: every frame that carries one is counted, and no device makes more names than it may."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mliot.measurements import load_measurements
from mliot.unknown import MAX_NAMES, OTHERS, counted, nearest

KNOWN = load_measurements()
NAMES = st.one_of(st.sampled_from([*KNOWN, "temprature", "x", "Ünknown", "a b", "x" * 100]), st.from_regex(r"[a-z]{1,3}", fullmatch=True))
FRAMES = st.lists(
    st.fixed_dictionaries(
        {"device": st.sampled_from("abc"), "arrived_ms": st.integers(0, 9), "payload": st.dictionaries(NAMES, st.just(1.0), max_size=60)}
    ),
    max_size=12,
)
HELD = st.dictionaries(st.sampled_from("abc"), st.sets(st.from_regex(r"[a-z]{1,3}", fullmatch=True), max_size=MAX_NAMES))


def frame(device: str, arrived_ms: int, *names: str) -> dict[str, Any]:
    return {"device": device, "arrived_ms": arrived_ms, "payload": dict.fromkeys(names, 1.0)}


@given(FRAMES, HELD)
def test_every_frame_counts_once_a_name_and_names_are_bounded(frames: list[dict[str, Any]], held: Mapping[str, set[str]]) -> None:
    found = counted(frames, KNOWN, held)
    assert len({(one.device, one.name) for one in found}) == len(found)
    for one in found:
        assert one.name not in KNOWN
        assert one.name == OTHERS or (one.name.isascii() and len(one.name) <= 63)
        assert 0 <= one.first_ms <= one.last_ms <= 9
        own = [each for each in frames if each["device"] == one.device]
        carrying = [each for each in own if one.name in each["payload"]] if one.name != OTHERS else own
        assert one.frames == len(carrying) if one.name != OTHERS else one.frames <= len(own)
    for device in "abc":
        names = {one.name for one in found if one.device == device} | held.get(device, set())
        assert len(names - {OTHERS}) <= MAX_NAMES
    for each in frames:
        unknown = set(each["payload"]) - set(KNOWN)
        assert not unknown or any(one.device == each["device"] for one in found), "none vanishes without a word"


def test_a_misspelt_name_is_counted_by_device_with_its_times() -> None:
    found = counted([frame("d", 5, "temprature", "humidity"), frame("d", 3, "temprature"), frame("e", 4, "humidity")], KNOWN, {})
    assert [(one.device, one.name, one.frames, one.first_ms, one.last_ms) for one in found] == [("d", "temprature", 2, 3, 5)]


def test_what_a_device_sends_beyond_its_names_is_counted_together() -> None:
    held = {"d": {f"n{i}" for i in range(MAX_NAMES)}}
    found = counted([frame("d", 1, "n0", "one", "more"), frame("d", 2, "other")], KNOWN, held)
    assert [(one.name, one.frames) for one in found] == [(OTHERS, 2), ("n0", 1)]


@pytest.mark.parametrize(("name", "like"), [("temprature", "temperature"), ("Humidity", "humidity"), ("zzz", None), (OTHERS, None)])
def test_the_nearest_known_name_is_told_where_there_is_one(name: str, like: str | None) -> None:
    assert nearest(name, KNOWN) == like
