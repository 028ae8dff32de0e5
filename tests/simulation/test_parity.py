"""Served features are the batch's: the features service's own code over 20,000 awkward frames, with crashes, judged by the naive twin.

``tests/unit/dbt/test_models.py`` judges the batch by the same twin, so the two are equal to each other as well.
"""

from collections import Counter
from dataclasses import replace

import pytest

from mliot.clock import ManualClock
from mliot.featuremodels import FEATURE_COLUMNS, WINDOW_COLUMNS, FeatureModels
from mliot.measurements import load_measurements
from mliot.messages import Feature, Window, decode
from mliot.services import ServiceStatus
from streaming.features.openwindows import OpenWindows
from streaming.runtime.driver import drive, log_performers
from streaming.runtime.effects import Emit, Partition
from streaming.services import features
from streaming.simulated import Crash, Faults, SimulatedKafka, SimulatedLog
from tests.unit.dbt.generated import START, generated_frames, raw_value
from tests.unit.dbt.naive import Comparison, Logged, Rows, compare, naive_models

FRAMES = 20_000
HOUR_MS = 3_600_000


def logged(kafka: SimulatedKafka, frames: list[Logged]) -> list[Logged]:
    """The frames with the offsets that they have in the simulated log."""
    placed = []
    for frame in frames:
        partition = Partition("stream-frame", frame.partition)
        placed.append(replace(frame, offset=kafka.log(partition).end))
        kafka.write(partition, Emit("stream-frame", frame.place_id, raw_value(placed[-1]).encode(), "", frame.event_ms))
    return placed


def rows(kafka: SimulatedKafka, kind: type, models) -> dict[str, Rows]:
    """What the service emitted, by model, in the twin's shape: nulls written out."""
    found: dict[str, Rows] = {model.name: {} for model in models}
    by_grain = {model.grain: model for model in models}
    fixed = WINDOW_COLUMNS if kind is Window else FEATURE_COLUMNS
    for record in kafka.topic(kind.topic_name):
        message = decode(kind, record.value)
        model = by_grain[message.grain]
        row = {name: getattr(message, name) for name in fixed} | {name: message.values.get(name) for name in model.columns}
        found[model.name][message.id] = row
    return found


@pytest.mark.parametrize("seed", [0, 7])
def test_every_value_served_is_the_twins(models: FeatureModels, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(START + 30 * HOUR_MS)
    kafka = SimulatedKafka(clock)
    frames = logged(kafka, generated_frames(FRAMES, seed=seed + 1))
    faults = Faults(seed, abort=0.05, crash_before_commit=0.05, crash_after_commit=0.05) if seed else Faults()
    status = ServiceStatus("features", clock)
    windows = OpenWindows(models)
    while True:
        log = SimulatedLog(kafka, "features", faults)
        try:
            drive(
                lambda: features.features(windows, (), rows=2000, fill_ms=1, grace_ms=600_000, idle_ms=1000),
                log_performers(log),
                status=status,
                stopped=lambda log=log: log.idle_reads > 10,
                idle=log.idle,
            )
            break
        except Crash:
            continue

    emitted = Counter(record.value for topic in ("stream-window", "stream-feature") for record in kafka.topic(topic))
    assert max(emitted.values()) == 1
    expected = naive_models(frames, load_measurements())
    served = rows(kafka, Window, models.windows) | rows(kafka, Feature, models.features)
    comparison = Comparison()
    for name, wanted in expected.items():
        compare(name, wanted, served[name], comparison)
    with capsys.disabled():
        print(f"\nstream and naive twin, seed {seed}: {comparison}")
    assert comparison.differ == []
    assert comparison.compared > 500_000
    counts = status.snapshot()["counts"]
    assert counts.get("late", 0) == 0
    if not seed:  # a process that crashes after its commit dies with that batch uncounted
        assert counts["read"] == len(frames) == counts["used"] + counts["duplicate"]
