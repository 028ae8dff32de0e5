"""The charts' geometry."""

from hypothesis import given
from hypothesis import strategies as st

from dashboard.view.charts import HEIGHT, PAD, WIDTH, Frame, Sample, chart, extent

MINUTE = 60_000


def sample(minute: float, value: float, **others: float) -> Sample:
    return Sample(int(minute * MINUTE), value, f"/trace/{minute}", "told", **others)


def drawn(*samples: Sample, steps: bool = False) -> str:
    found = chart("t", "last hour", Frame(0, 60 * MINUTE, MINUTE, 0, 10, steps), samples, "{:g}".format)
    assert found is not None
    return found.line


def test_the_edges_of_time_and_value_are_the_edges_of_the_box() -> None:
    frame = Frame(0, 60 * MINUTE, MINUTE, 0, 10)
    assert (frame.x(0), frame.x(60 * MINUTE)) == (0, WIDTH)
    assert (frame.y(0), frame.y(10)) == (HEIGHT - PAD, PAD)


def test_a_line_breaks_where_windows_are_missing() -> None:
    assert drawn(sample(1, 5), sample(2, 5), sample(9, 5)).count("M") == 2
    assert drawn(sample(1, 5), sample(2, 5), sample(4, 5)).count("M") == 1


def test_classes_are_drawn_as_steps() -> None:
    assert drawn(sample(10, 0), sample(11, 10), steps=True) == "M60.0 67.0H66.0V5.0"


def test_what_lies_outside_is_left_out_and_nothing_is_no_chart() -> None:
    frame = Frame(10 * MINUTE, 20 * MINUTE, MINUTE, 0, 10)
    assert chart("t", "s", frame, [sample(9, 1), sample(21, 1)], str) is None
    found = chart("t", "s", frame, [sample(9, 1), sample(15, 1, label=2)], str)
    assert found is not None
    assert (len(found.marks), found.has_labels) == (1, True)


def test_an_interval_is_a_closed_band() -> None:
    found = chart("t", "s", Frame(0, MINUTE * 60, MINUTE, 0, 10), [sample(1, 5, low=4, high=6), sample(2, 5, low=4, high=6)], str)
    assert found is not None
    assert found.band.startswith("M6.0 ")
    assert found.band.endswith("Z")


@given(st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_every_value_lies_within_its_extent_which_is_never_empty(values: list[float]) -> None:
    low, high = extent([sample(1, value) for value in values])
    assert low < high
    assert all(low <= value <= high for value in values)
