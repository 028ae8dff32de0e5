"""A champion to ask, and the same forest for the classic way."""

import time
from typing import Any

import numpy as np

from learning.card import ModelCard
from learning.gate import Evidence
from learning.store import ModelStore
from learning.tasks import load_task
from learning.training import estimators, onnx
from learning.training.rows import Rows
from mliot.settings import Settings
from mliot.usecase import RandomForest, UseCase

ROWS = 4_000
RANGES = {"temperature": (15, 30), "humidity": (25, 65), "pressure": (101_000, 101_600), "luminosity": (0, 500)}
STATISTICS = ("", "_avg", "_max")
OTHERS = (0, 2)
FOREST = RandomForest(trees=100)


def learnable(use_case: UseCase) -> Rows:
    """Rows from which a forest can learn a level 0 to 3: how warm and how damp it is, and some noise."""
    ranges = {f"{name}{statistic}": ends for name, ends in RANGES.items() for statistic in STATISTICS}
    rng = np.random.default_rng(7)
    columns = {column: rng.uniform(*ranges.get(column, OTHERS), ROWS) for column in use_case.columns}
    warm, damp = (next(values for name, values in columns.items() if name.startswith(of)) for of in ("temperature", "humidity"))
    level = (warm - 15) / 15 * 2.5 + (damp - 25) / 40 + rng.normal(0, 0.2, ROWS)
    return Rows(
        feature_ids=np.arange(ROWS).astype(str).astype(object),
        end_ms=np.arange(ROWS, dtype=np.int64) * 60_000,
        available_ms=np.arange(ROWS, dtype=np.int64) * 60_000,
        values=np.stack(list(columns.values()), axis=1).astype(np.float32),
        labels=np.clip(np.floor(level), 0, 3),
        baseline=np.full(ROWS, np.nan),
    )


def fitted(use_case: UseCase) -> Any:
    """The use case's forest as scikit-learn has it: a pipeline that also fills in what is missing."""
    return estimators.fit(FOREST, load_task(use_case.kind), learnable(use_case)).pipeline


def make_champion(settings: Settings, use_case: UseCase) -> str:
    """Saves the forest in the model store and lets it answer. Returns its version."""
    rows, store = learnable(use_case), ModelStore(settings.models_path)
    model = onnx.convert(fitted(use_case), load_task(use_case.kind), use_case.columns)
    card = ModelCard(
        use_case=use_case.name,
        title=use_case.title,
        kind=use_case.kind,
        unit=use_case.unit,
        classes=use_case.classes,
        features=use_case.features,
        columns=use_case.columns,
        feature_version="benchmark",
        estimator=estimators.described(FOREST),
        data=rows.snapshot(),
        typical={column: float(np.median(rows.values[:, at])) for at, column in enumerate(use_case.columns)},
        metrics={},
        evidence=Evidence(rows=ROWS, loss=0, baseline_loss=1, champion_loss=None, parity=0, p99_ms=1, size_mb=len(model) / 1e6),
        created_ms=time.time_ns() // 1_000_000,
        libraries={},
    )
    version = store.save(card, model)
    store.move(use_case.name, "champion", version, who="benchmark", why="to be asked")
    return version
