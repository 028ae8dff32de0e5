"""The champion's training rows outlive the training set that they came from."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from learning.monitoring.reference import keep_reference, read_reference
from learning.store import ModelStore
from mliot.usecase import UseCase
from usecases import load_use_cases


@pytest.fixture
def use_case() -> UseCase:
    return load_use_cases()["water_flow"]


def table(use_case: UseCase, value: float) -> pa.Table:
    values = {name: [value, value + 1, value + 2] for name in use_case.columns}
    return pa.table({**values, "label": [1.0, None, 2.0], "key": ["a", "b", "c"]})


def test_labelled_rows_come_back_with_the_declared_columns(tmp_path: Path, use_case: UseCase) -> None:
    keep_reference(tmp_path, ModelStore(tmp_path / "models"), use_case, "v1", table(use_case, 5.0))
    found = read_reference(tmp_path, use_case.name, "v1")
    assert found is not None
    assert tuple(found.columns) == use_case.columns
    assert found["hour_sin"].tolist() == [5.0, 7.0]


def test_rows_of_a_version_without_alias_go_and_the_champions_stay(
    tmp_path: Path, use_case: UseCase, save_constant_model: Callable[..., str]
) -> None:
    store = ModelStore(tmp_path / "models")
    versions = [save_constant_model(store, use_case, answer) for answer in (1.0, 2.0, 3.0)]
    keep_reference(tmp_path, store, use_case, versions[0], table(use_case, 1.0))
    store.move(use_case.name, "champion", versions[0], who="test", why="test")
    for version in versions[1:]:
        keep_reference(tmp_path, store, use_case, version, table(use_case, 2.0))
    kept = [read_reference(tmp_path, use_case.name, version) is not None for version in versions]
    assert kept == [True, False, True]


def test_what_was_not_kept_is_none(tmp_path: Path) -> None:
    assert read_reference(tmp_path, "water_flow", "v1") is None
