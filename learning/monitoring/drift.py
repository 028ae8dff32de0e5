"""Data drift: the distribution of each feature as served beside the one that the champion was trained on (an Evidently report)."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mliot.errors import Transient

if TYPE_CHECKING:
    import pandas as pd

METHOD = "wasserstein"
"""The earth mover's distance over the reference's standard deviation. Pinned: Evidently's own choice changes with the number of rows."""
DRIFTED_FROM = 0.25
"""A column has drifted whose rows moved by a quarter of the reference's standard deviation or more."""
ALARM_SHARE = 0.5
"""Share of drifted columns from which a person should look."""
MIN_ROWS = 50


class TooFewRows(Transient):
    """There is too little to compare yet; more rows will come."""


@dataclass(frozen=True)
class Drift:
    """What was found: each compared column's distance, and the columns that are ``silent``, without a single value, on one side."""

    reference_rows: int
    current_rows: int
    distances: Mapping[str, float]
    silent: tuple[str, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that moved, the farthest first."""
        moved = [name for name, distance in self.distances.items() if distance >= DRIFTED_FROM]
        return tuple(sorted(moved, key=lambda name: -self.distances[name]))

    @property
    def share(self) -> float:
        """Drifted and silent columns, of all."""
        return (len(self.drifted) + len(self.silent)) / (len(self.distances) + len(self.silent))

    @property
    def alarming(self) -> bool:
        return self.share >= ALARM_SHARE


def measure_drift(reference: "pd.DataFrame", current: "pd.DataFrame", page: Path) -> Drift:
    """Compares ``current`` with ``reference``, which have the same columns, and writes Evidently's page to ``page``.

    Raises :class:`TooFewRows` where either has fewer than ``MIN_ROWS`` rows, or no column has a value on both sides.
    """
    for name, rows in (("reference", reference), ("served", current)):
        if len(rows) < MIN_ROWS:
            raise TooFewRows(f"not enough rows: {len(rows)} {name}, {MIN_ROWS} are needed")
    heard = [name for name in reference.columns if reference[name].notna().any() and current[name].notna().any()]
    if not heard:
        raise TooFewRows("not enough rows: no column has a value on both sides")
    distances = _evidently(reference[heard], current[heard], page)
    silent = tuple(name for name in reference.columns if name not in heard)
    return Drift(len(reference), len(current), distances, silent)


def _evidently(reference: "pd.DataFrame", current: "pd.DataFrame", page: Path) -> Mapping[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own: a constant column has no correlation, and its imports use what is deprecated
        from evidently import Report  # imported here: it takes 7 to 10 seconds
        from evidently.presets import DataDriftPreset

        preset = DataDriftPreset(columns=list(reference.columns), num_method=METHOD, num_threshold=DRIFTED_FROM, drift_share=ALARM_SHARE)
        snapshot = Report([preset]).run(current, reference)
        page.parent.mkdir(parents=True, exist_ok=True)
        fresh = page.with_suffix(".new")  # whoever lists the reports meanwhile finds whole ones only
        snapshot.save_html(str(fresh))
        fresh.replace(page)
    found = {metric["config"].get("column"): metric["value"] for metric in snapshot.dict()["metrics"]}
    return {name: float(found[name]) for name in reference.columns}
