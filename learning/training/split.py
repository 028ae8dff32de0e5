"""The split by time: fit, then calibrate, then judge, with a gap of the label's delay between one and the next."""

from dataclasses import dataclass

import numpy as np

from learning.training.rows import NotEnoughRows, Rows

CALIBRATION = 0.2
"""Share of the rows before the holdout on which the estimator is chosen and its interval measured."""


@dataclass(frozen=True)
class Split:
    """Three stretches of time. No label of a stretch became available after the first window of the next one had ended."""

    fit: Rows
    calibration: Rows
    holdout: Rows


def split_by_time(rows: Rows, holdout: float) -> Split:
    """The newest fraction ``holdout`` of ``rows`` is kept for judging, the newest of those before for calibration.

    What a model learns from was known when the first row it is judged on came up, as it will be in service: rows in between, whose
    label was still under way, are left out. Rows of the same time stay together.

    Raises :class:`NotEnoughRows` where a stretch would be empty.
    """
    before, judged = _cut(rows, holdout)
    fit, calibration = _cut(before, CALIBRATION)
    return Split(fit, calibration, judged)


def _cut(rows: Rows, newest: float) -> tuple[Rows, Rows]:
    if len(rows) == 0:
        raise NotEnoughRows("there are no labelled rows")
    at = rows.end_ms[min(int(len(rows) * (1 - newest)), len(rows) - 1)]
    before = rows.where((rows.end_ms < at) & (rows.available_ms <= at))
    after = rows.where(rows.end_ms >= at)
    if len(before) == 0:
        raise NotEnoughRows(
            f"none of the {len(rows)} labelled rows was known before {np.datetime64(int(at), 'ms')}Z, when the next stretch begins"
        )
    return before, after
