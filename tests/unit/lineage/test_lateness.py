import pytest

from lineage.lateness import Closings, PartitionTime, may_be_late, watermark_ms

MINUTE = 60_000
GRACE = 5_000


def test_a_later_window_tells_that_an_earlier_end_was_passed():
    closings = Closings()
    assert closings.passed_ms(MINUTE) is None
    closings.note(2 * MINUTE, 300, 0)
    assert closings.passed_ms(MINUTE) == 300
    closings.note(MINUTE, 500, 0)
    assert (closings.passed_ms(MINUTE), closings.passed_ms(MINUTE + 1), closings.passed_ms(2 * MINUTE + 1)) == (300, 300, None)
    closings.note(MINUTE, 200, 1)
    assert closings.passed_ms(MINUTE) == 200


def test_an_earlier_window_tells_until_when_a_later_end_was_not_passed():
    closings = Closings()
    assert closings.ahead_ms(MINUTE, 0) is None
    closings.note(MINUTE, 500, 0)
    closings.note(2 * MINUTE, 400, 0)
    closings.note(MINUTE, 900, 1)
    assert (closings.ahead_ms(MINUTE - 1, 0), closings.ahead_ms(MINUTE, 0), closings.ahead_ms(2 * MINUTE, 0)) == (None, 500, 500)
    assert closings.ahead_ms(3 * MINUTE, 1) == 900
    closings.note(MINUTE, 600, 0)
    assert closings.ahead_ms(2 * MINUTE, 0) == 600


@pytest.mark.parametrize(
    ("newest", "passed", "ahead", "arrived", "late"),
    [
        (0, None, None, 30_000, False),  # nothing has closed
        (MINUTE + GRACE - 1, None, None, 64_000, False),  # its partition stands just below the end and the grace
        (MINUTE + GRACE, None, None, 64_000, True),  # its partition had moved on
        (MINUTE + GRACE, None, 90_000, 64_000, True),  # which a later emission does not rule out: it was read out of order
        (0, 70_000, None, 30_000, False),  # closed long after it arrived
        (0, 64_000, None, 62_000, True),  # arrived while it closed
        (0, 64_000, None, 61_999, False),
        (0, None, None, MINUTE + GRACE - 1, False),
        (0, None, None, MINUTE + GRACE, True),  # the clock may have closed it in a silence
        (0, None, 80_000, MINUTE + GRACE, False),  # but an earlier window was emitted only afterwards
        (0, None, MINUTE + GRACE, MINUTE + GRACE, True),
    ],
)
def test_a_frame_may_be_late_only_where_the_log_shows_it(newest, passed, ahead, arrived, late):
    before = PartitionTime(newest, 0)
    assert may_be_late(arrived, MINUTE, before=before, passed_ms=passed, ahead_ms=ahead, grace_ms=GRACE) is late


def test_the_watermark_is_the_least_of_the_partitions_that_are_not_silent():
    busy, behind, silent = PartitionTime(100_000, 99_000), PartitionTime(90_000, 98_000), PartitionTime(10_000, 50_000)
    assert watermark_ms([busy, behind, silent], now_ms=100_000, grace_ms=GRACE, idle_ms=5_000) == 85_000
    assert watermark_ms([silent], now_ms=100_000, grace_ms=GRACE, idle_ms=5_000) == 90_000
    assert watermark_ms([], now_ms=100_000, grace_ms=GRACE, idle_ms=5_000) == 90_000
