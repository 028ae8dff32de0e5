"""What exactly once costs: the features service with transactions beside the same service that only delivers at least once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.atleastonce import started_at_least_once
from benchmarks.drain import drain_s
from benchmarks.frames import recent, records
from benchmarks.row import Row, Side
from benchmarks.servers import own_settings, running, started
from warehouse.dbt import compile_for_stream

RECORDS = {100: 20_000, 1_000: 60_000, 10_000: 120_000}
"""How many are measured, by the records of a commit."""
BESIDE = "at least once"


@contextmanager
def rows(folder: Path) -> Iterator[tuple[Row, ...]]:
    settings = own_settings(folder)
    compile_for_stream(settings)  # once, not as part of the first start
    most = max(RECORDS.values())
    emits = records(most, recent(most))

    def row(batch: int) -> Row:
        own, some = settings.model_copy(update={"batch_rows": batch}), emits[: RECORDS[batch]]
        return Row(
            f"Exactly once, {batch:,} records a commit",
            "µs a record",
            Side("in transactions", lambda: drain_s(own, "features", some, started) / len(some) * 1e6),
            (Side(BESIDE, lambda: drain_s(own, "features", some, started_at_least_once) / len(some) * 1e6),),
            {BESIDE: 1.1},
            better="less",
            note=f"{len(some):,} frames through the features service, the same code and process but for the log port: a transaction a "
            "commit, or records acknowledged first and positions committed afterwards.",
        )

    with running(settings, "kafka"):
        yield tuple(row(batch) for batch in RECORDS)
