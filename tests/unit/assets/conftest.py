"""A use case, a store and candidates in it, without training anything."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets import keys
from assets.training import COMPARED_WITH, NO_CHAMPION, VERSION
from learning.gate import Evidence
from learning.store import ModelStore
from mliot.usecase import Gate, Label, Linear, UseCase

MakeCandidate = Callable[..., str]
StoreCandidate = Callable[..., dict[str, str]]


@pytest.fixture
def use_case() -> UseCase:
    return UseCase(
        name="pump",
        title="Pump",
        kind="regression",
        unit="L/s",
        features="features_place_1m",
        columns=("water_flow_avg",),
        label=Label(measurement="water_flow"),
        candidates=(Linear(),),
        gate=Gate(least_rows=10),
    )


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def store_candidate(use_case: UseCase, store: ModelStore, save_constant_model: Callable[..., str]) -> StoreCandidate:
    """Stores a candidate with that loss beside a baseline of 1.0; gives the metadata that the asset would have."""
    made = iter(range(1_764_000_000_000, 1_765_000_000_000, 1000))

    def make(loss: float, **changes: object) -> dict[str, str]:
        champion = store.aliases(use_case.name).champion
        evidence = {"rows": 100, "loss": loss, "baseline_loss": 1.0, "champion_loss": None, "parity": 0.0, "p99_ms": 0.1, "size_mb": 0.1}
        version = save_constant_model(store, use_case, loss, created_ms=next(made), evidence=Evidence(**{**evidence, **changes}))
        return {VERSION: version, COMPARED_WITH: champion.version if champion else NO_CHAMPION}

    return make


@pytest.fixture
def make_candidate(use_case: UseCase, store_candidate: StoreCandidate) -> MakeCandidate:
    """Stores such a candidate and tells Dagster of it, outside any run; gives its version."""

    def make(instance: dg.DagsterInstance, loss: float, **changes: object) -> str:
        metadata = store_candidate(loss, **changes)
        instance.report_runless_asset_event(dg.AssetMaterialization(keys.candidate(use_case.name), metadata=metadata))
        return metadata[VERSION]

    return make
