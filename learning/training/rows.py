"""A use case's training table as arrays, in the order of time, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from learning.card import DataSnapshot
from learning.tasks.task import Floats, Matrix
from mliot.errors import DeclarationError, Transient
from mliot.usecase import UseCase

Times = npt.NDArray[np.int64]
_NEEDED = ("feature_id", "end_ms", "available_ms", "label", "baseline")


class NotEnoughRows(Transient):
    """The table is too small to learn from yet; more labels will come."""


@dataclass(frozen=True)
class Rows:
    """Labelled feature rows by time: ``values`` in the use case's column order with NaN where missing, ``baseline`` NaN where unknown."""

    feature_ids: npt.NDArray[np.object_]
    end_ms: Times
    available_ms: Times
    values: Matrix
    labels: Floats
    baseline: Floats

    def __len__(self) -> int:
        return len(self.feature_ids)

    def where(self, mask: npt.NDArray[np.bool_]) -> Self:
        """The rows that ``mask`` picks, in their order."""
        return type(self)(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def snapshot(self) -> DataSnapshot:
        """Which rows these are; the digest changes with any id, value or label."""
        digest = blake2b(digest_size=16)
        for feature_id in self.feature_ids:
            digest.update(f"{feature_id}\n".encode())
        digest.update(self.values.tobytes() + self.labels.tobytes())
        first, last = (int(self.end_ms[0]), int(self.end_ms[-1])) if len(self) else (0, 0)
        return DataSnapshot(rows=len(self), first_ms=first, last_ms=last, digest=digest.hexdigest())


def read_rows(use_case: UseCase, table: pa.Table) -> Rows:
    """The rows of ``table`` that have a label, by end and id. Values are rounded to single precision, as the endpoint will feed them.

    Raises :class:`DeclarationError` where the table lacks a column.
    """
    lacking = [name for name in (*_NEEDED, *use_case.columns) if name not in table.column_names]
    if lacking:
        raise DeclarationError(f"use case {use_case.name}: columns: its training table lacks {', '.join(lacking)}")
    table = table.filter(pc.is_valid(table["label"])).sort_by([("end_ms", "ascending"), ("feature_id", "ascending")])
    values = [_numbers(table[name]) for name in use_case.columns]
    return Rows(
        feature_ids=np.array(table["feature_id"].to_pylist(), dtype=object),
        end_ms=table["end_ms"].to_numpy().astype(np.int64),
        available_ms=table["available_ms"].to_numpy().astype(np.int64),
        values=np.column_stack(values).astype(np.float32),
        labels=_numbers(table["label"]),
        baseline=_numbers(table["baseline"]),
    )


def faults(use_case: UseCase, rows: Rows) -> tuple[str, ...]:
    """What makes the rows unfit to learn from, one phrase each; the gate refuses a candidate whose table has any."""
    return tuple(_faults(use_case, rows))


def _faults(use_case: UseCase, rows: Rows) -> Iterator[str]:
    twice = len(rows) - len(set(rows.feature_ids.tolist()))
    if twice:
        yield f"{twice} feature rows stand in the table twice"
    early = int((rows.available_ms < rows.end_ms + use_case.delay_ms).sum())
    if early:
        yield f"{early} labels are said to be available before their delay has passed"
    if not np.isfinite(rows.labels).all():
        yield "a label is not finite"
    elif use_case.classes:
        foreign = sorted(set(rows.labels.tolist()) - {float(one) for one in use_case.classes})
        if foreign:
            yield f"labels {', '.join(f'{one:g}' for one in foreign[:5])} are not among the classes"
    for name, column in zip(use_case.columns, rows.values.T, strict=True):
        if np.isinf(column).any():
            yield f"{name} holds an infinite value"


def _numbers(column: Any) -> Floats:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
