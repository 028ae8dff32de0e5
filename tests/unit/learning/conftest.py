"""A made training table, in the shape that dbt builds: a daily wave with noise, its label known after the use case's delay."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from mliot.usecase import UseCase

START_MS = 1_764_000_000_000
MakeTable = Callable[..., pa.Table]


@pytest.fixture
def make_table() -> MakeTable:
    def make(use_case: UseCase, rows: int, *, seed: int = 0, noise: float = 1.0, missing: float = 0.02) -> pa.Table:
        random = np.random.default_rng(seed)
        step = 60_000 if use_case.classes else 3_600_000
        start = START_MS + np.arange(rows) * step
        wave = 25 + 5 * np.sin(np.arange(rows) / 24 * 2 * np.pi) + random.normal(size=rows)
        values = {column: wave + noise * random.normal(size=rows) for column in use_case.columns}
        labels = np.digitize(wave, [22, 25, 28]).astype(float) if use_case.classes else 2 * wave
        late = use_case.delay_ms // step + 1
        return pa.table(
            {
                "feature_id": [f"place:{ms}" for ms in start],
                "key": ["k"] * rows,
                "place_id": ["k"] * rows,
                "start_ms": start,
                "end_ms": start + step,
                "label_ms": start + step,
                "available_ms": start + step + use_case.delay_ms,
                "label": labels,
                "served": [False] * rows,
                "baseline": pa.array(np.concatenate([np.full(late, np.nan), labels[:-late]]), from_pandas=True),
                **{
                    name: pa.array(np.where(random.random(rows) < missing, np.nan, column), from_pandas=True)
                    for name, column in values.items()
                },
            }
        )

    return make
