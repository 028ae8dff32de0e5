"""The rows that a model was trained on, kept beside the drift reports that compare with them."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from learning.store import ALIASES, ModelStore
from mliot.usecase import UseCase

if TYPE_CHECKING:
    import pandas as pd


def keep_reference(reports: Path, store: ModelStore, use_case: UseCase, version: str, table: pa.Table) -> None:
    """Keeps the labelled rows of ``table`` as what ``version`` was trained on; drops those of versions that no alias stands for."""
    path = _path(reports, use_case.name, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    pq.write_table(table.filter(pc.is_valid(table["label"])).select(list(use_case.columns)), fresh)
    fresh.replace(path)
    aliases = store.aliases(use_case.name)
    kept = {version, *(pointer.version for alias in ALIASES if (pointer := aliases.pointer(alias)))}
    for other in path.parent.glob("*.parquet"):
        if other.stem not in kept:
            other.unlink()


def read_reference(reports: Path, use_case: str, version: str) -> "pd.DataFrame | None":
    """What ``version`` was trained on, a column a feature; None where it was not kept."""
    path = _path(reports, use_case, version)
    return pq.read_table(path).to_pandas() if path.exists() else None


def _path(reports: Path, use_case: str, version: str) -> Path:
    return reports / use_case / "reference" / f"{version}.parquet"
