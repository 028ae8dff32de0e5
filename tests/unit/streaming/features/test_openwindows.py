"""What only the stream adds to the SQL: rows that leave no trace."""

from mliot.featuremodels import FeatureModels
from streaming.features import openwindows
from streaming.features.openwindows import OpenWindows
from streaming.runtime.effects import Record
from tests.unit.dbt.generated import generated_frames, raw_value


def test_what_was_deleted_takes_no_room(models: FeatureModels, monkeypatch) -> None:
    """The same frames again and again: all are duplicates, and DuckDB holds no more of them than before."""
    monkeypatch.setattr(openwindows, "VACUUM_ROWS", 1_000)
    frames = generated_frames(500)
    records = [Record("stream-frame", f.partition, f.offset, f.event_ms, f.place_id, raw_value(f).encode(), "") for f in frames]
    held = []
    with OpenWindows(models) as windows:
        windows.start({0: 0, 1: 0})
        for _ in range(12):
            for _ in range(2):
                windows.add(records, past=False, now_ms=0)
            held += windows._con.execute("select sum(memory_usage_bytes) from duckdb_memory()").fetchall()
    assert max(held[6:]) <= max(held[:3])
