"""The first training of a fresh stack: what the fleet sends as its history is enough for the gate, at whatever hour it starts."""

from datetime import UTC, datetime

import pytest

from devices.faults import Faults
from devices.fleet import HISTORY_PERIOD_MS
from devices.places import rooms
from learning.training.train import train
from mliot.featuremodels import FeatureModels
from mliot.frames import parse_frame
from mliot.measurements import load_measurements
from mliot.settings import Settings
from streaming.features.labels import label_sources, labels_in
from streaming.features.openwindows import OpenWindows
from streaming.runtime.effects import Record
from tests.unit.usecases.history import training_set
from usecases.fan_speed import FAN_SPEED

DAY_MS = 86_400_000
STARTS = ("25T16:54", "24T06:54", "23T20:42", "23T19:00", "22T07:18", "22T05:36")
"""Six of the eighty looked at, all those at which the gate refused what was learnt from one day: weather of its newest hours had not been
seen before."""


@pytest.mark.parametrize("start", STARTS)
def test_what_is_learnt_from_the_history_passes_the_gate(models: FeatureModels, start: str) -> None:
    settings = Settings(_env_file=None)
    now_ms = int(datetime.fromisoformat(f"2026-11-{start}").replace(tzinfo=UTC).timestamp() * 1000)
    records = history(settings, now_ms - round(settings.fleet_history_days * DAY_MS), now_ms)
    with OpenWindows(models) as windows:
        windows.start({0: 0})
        windows.add(records, past=False, now_ms=now_ms)
        closed = windows.close(now_ms, "watermark", now_ms)
    labels = labels_in(closed.windows, label_sources({FAN_SPEED.name: FAN_SPEED}, models))
    features = [feature for feature in closed.features if feature.model == FAN_SPEED.features]
    candidate = train(FAN_SPEED, training_set(FAN_SPEED, features, labels), feature_version="1", created_ms=now_ms)
    assert candidate.card.verdict is not None
    assert [str(check) for check in candidate.card.verdict.refusals] == []


def history(settings: Settings, after_ms: int, to_ms: int) -> list[Record]:
    """The reference room's frames as the bridge writes them."""
    (room,) = rooms(1, settings.seed, Faults(settings.seed, frozenset()))
    known = load_measurements()
    records = []
    for offset, out in enumerate(room.frames(after_ms, to_ms, HISTORY_PERIOD_MS)):
        frame = parse_frame(out.message, mqtt_topic=out.topic, arrived_ms=out.event_ms, measurements=known, retention_ms=to_ms)
        records.append(Record(frame.topic_name, 0, offset, out.event_ms, frame.place_id, frame.encode(), ""))
    return records
