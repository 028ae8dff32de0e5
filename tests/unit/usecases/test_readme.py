"""The use case that README shows: what stands there is declared as it stands, and learns from the fleet's history enough for the gate."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from devices.faults import Faults
from devices.fleet import HISTORY_PERIOD_MS
from devices.history import merged
from devices.places import rooms
from learning.training.train import train
from mliot.featuremodels import FeatureModels
from mliot.measurements import load_measurements
from mliot.settings import Settings
from mliot.usecase import UseCase
from streaming.features.labels import label_sources, labels_in
from streaming.features.openwindows import OpenWindows
from streaming.intake.decoders import load_decoders
from streaming.runtime.effects import Received, Record
from streaming.services import bridge
from tests.unit.usecases.history import training_set
from usecases import load_use_cases

README = Path(__file__).parents[3] / "README.md"
NAME = "next_temperature"
NOW_MS, HOUR_MS = 1_764_000_000_000, 3_600_000
DECODERS = load_decoders()
SEEDS = (14, 34, 20)
"""Those at which the least is saved, of sixty that all pass."""


@pytest.fixture(scope="module")
def use_case(tmp_path_factory: pytest.TempPathFactory) -> UseCase:
    """README's file, in a folder as ``MLIOT_USECASES`` would name it."""
    (found,) = [block for block in re.findall(r"(?:^    .*\n|^\n)+", README.read_text(), re.MULTILINE) if "UseCase(" in block]
    folder = tmp_path_factory.mktemp("usecases")
    (folder / "comfort.py").write_text(dedent(found).strip() + "\n")
    return load_use_cases(folder)[NAME]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_learnt_from_the_history_passes_the_gate(models: FeatureModels, use_case: UseCase, seed: int) -> None:
    settings = Settings(_env_file=None)
    now_ms = NOW_MS + seed * (7 * HOUR_MS + 13 * 60_000)  # at another time of the day for each seed
    records = history(settings, seed, now_ms)
    with OpenWindows(models) as windows:
        windows.start({0: 0})
        windows.add(records, past=False, now_ms=now_ms)
        closed = windows.close(now_ms, "watermark", now_ms)
    labels = labels_in(closed.windows, label_sources({NAME: use_case}, models))
    features = [feature for feature in closed.features if feature.model == use_case.features and use_case.serves(feature.place_id)]
    candidate = train(use_case, training_set(use_case, features, labels), feature_version="1", created_ms=now_ms)
    assert use_case.gate.over_baseline >= 0.02, "a gate of nothing shows nothing"
    assert candidate.card.verdict is not None
    assert [str(check) for check in candidate.card.verdict.refusals] == []


def history(settings: Settings, seed: int, to_ms: int) -> list[Record]:
    """The frames of all rooms that the fleet of ``seed`` sends first, as the bridge writes them."""
    known = load_measurements()
    after_ms = to_ms - round(settings.fleet_history_days * 24 * HOUR_MS)
    places = rooms(settings.fleet_rooms, seed, Faults(seed, frozenset()))
    sent = merged([place.frames(after_ms, to_ms, HISTORY_PERIOD_MS) for place in places])
    received = [Received(out.topic, out.message, "", out.event_ms, (1, number)) for number, out in enumerate(sent)]
    written = bridge.decide(received, decoders=DECODERS, measurements=known, retention_ms=to_ms, now_ms=to_ms).emits
    return [Record(emit.topic, 0, offset, to_ms, emit.key, emit.value, emit.traceparent) for offset, emit in enumerate(written)]
