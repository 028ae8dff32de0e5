"""Frames to minute windows and feature rows, Kafka to Kafka, beside a consumer that decodes nothing and windows in plain Python."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import log, plainwindows
from benchmarks.drain import Start, drain_s
from benchmarks.frames import SENSORS, recent, records
from benchmarks.minutegrains import started_with_minute_grains
from benchmarks.row import Row, Side
from benchmarks.servers import own_settings, running, started
from mliot.messages import Frame
from warehouse.dbt import compile_for_stream

FRAMES = 300_000
PLAIN_FRAMES = 100_000
"""Enough for the plain windows to reach their pace."""
PLAIN = "windows in plain Python"
NOTE = (
    f"{FRAMES:,} frames of {SENSORS} sensors, one every 5 s each, with four readings. The service makes every window and feature row that "
    "dbt declares for these grains, checks each frame, drops repeated ones and commits in transactions. The bare consumer counts records. "
    "The plain windows (json.loads, a dict of lists) are those of a minute by sensor and by room, with the same statistics and without "
    "lookback, written to Kafka at least once."
)


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings = own_settings(folder)
    compile_for_stream(settings)  # once, not as part of the first start
    emits = records(FRAMES, recent(FRAMES))
    with running(settings, "kafka"):
        log.Backlog(settings, emits).show()  # what the peers read; the service is given the same anew

        def row(name: str, start: Start, goals: dict[str, float], note: str) -> Row:
            return Row(
                name,
                "frames/s",
                Side("the features service, one process", lambda: FRAMES / drain_s(settings, "features", emits, start)),
                (
                    Side(log.BARE, lambda: log.bare_rate(settings, Frame.topic_name, FRAMES)),
                    Side(log.BARE_UNCOLLECTED, lambda: log.bare_rate_uncollected(settings, Frame.topic_name, FRAMES)),
                    Side(PLAIN, lambda: plainwindows.rate(settings, PLAIN_FRAMES)),
                ),
                goals,
                note=f"{note} {NOTE}",
            )

        yield (
            row(
                "Features, minute grains",
                started_with_minute_grains,
                {log.BARE: 0.6, PLAIN: 10},
                "The windows of a minute by sensor and by room.",
            ),
            row("Features, every grain", started, {}, "As it runs: a row a frame and the windows of an hour too."),
        )
