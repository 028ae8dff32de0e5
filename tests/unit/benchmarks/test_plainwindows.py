"""The peer must be right to count: the plain windows hold what the service's windows hold."""

from statistics import fmean, pstdev

import pytest

from benchmarks.plainwindows import PlainWindows, statistics


def frame(event_ms: int, temperature: float, device: str = "a", place: str = "room") -> dict:
    return {"device": device, "place_id": place, "event_ms": event_ms, "payload": {"temperature": temperature}}


def test_a_window_closes_by_sensor_and_by_room_once_event_time_has_passed_it_by_the_grace() -> None:
    windows = PlainWindows()
    for one in (frame(60_000, 20), frame(119_999, 22), frame(60_500, 30, "b"), frame(120_000, 99)):
        windows.add(one)
    windows.add(frame(124_999, 99))
    assert list(windows.closed()) == []
    windows.add(frame(125_000, 99))
    closed = {(window["grain"], key): window["values"] for key, window in windows.closed()}
    assert sorted(closed) == [("place_1m", "room"), ("sensor_1m", "a"), ("sensor_1m", "b")]
    assert closed["sensor_1m", "a"]["temperature_last"] == 22
    assert closed["place_1m", "room"]["temperature_count"] == 3
    assert list(windows.closed()) == []


def test_statistics_are_those_of_the_textbook() -> None:
    values = [20.0, 22.5, 19.0, 24.0]
    assert dict(statistics(values)) == pytest.approx(
        {"count": 4, "min": 19, "max": 24, "avg": fmean(values), "stddev": pstdev(values), "last": 24}
    )
