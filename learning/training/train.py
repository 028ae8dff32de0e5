"""From a training table to a candidate: fit what the use case declares, choose, convert, and measure it beside champion and baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from learning.card import Interval, ModelCard
from learning.gate import Evidence, judge
from learning.scoring import Scorer
from learning.store import StoredModel
from learning.tasks import load_task
from learning.tasks.task import Floats, Judged, Matrix, Task
from learning.training import interval, onnx
from learning.training.estimators import Fitted, described, fit
from learning.training.rows import NotEnoughRows, Rows, faults, read_rows
from learning.training.split import Split, split_by_time
from mliot.usecase import Estimator, UseCase

LIBRARIES = ("scikit-learn", "skl2onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Tried:
    """One declared estimator: its loss on the calibration stretch, where the best is chosen, and what it warned about."""

    estimator: str
    loss: float
    warned: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A model that asks to be promoted; nothing is stored yet. ``notes`` say what a person should know about how it was judged."""

    card: ModelCard
    onnx: bytes
    judged: Judged
    tried: tuple[Tried, ...]
    notes: tuple[str, ...]


def train(
    use_case: UseCase,
    table: pa.Table,
    *,
    feature_version: str,
    created_ms: int,
    champion: StoredModel | None = None,
    failed_tests: Sequence[str] = (),
) -> Candidate:
    """The best of the use case's declared estimators on ``table``, with the evidence and what the gate says of it.

    ``feature_version`` is the version of the feature SQL that made the table, ``failed_tests`` the data tests that failed elsewhere.

    Raises :class:`NotEnoughRows` while the table is too small, :class:`DeclarationError` where it lacks a declared column.
    """
    task, rows = load_task(use_case.kind), read_rows(use_case, table)
    split = split_by_time(rows, use_case.holdout)
    with threadpool_limits(limits=1):  # boosting is four times slower when its threads have to share the cores with other processes
        fitted, tried = _choose(use_case, task, split)
    best = min(range(len(tried)), key=lambda index: tried[index].loss)
    model = onnx.convert(fitted[best].pipeline, task, use_case.columns)
    scorer = Scorer(model, kind=use_case.kind, columns=len(use_case.columns))
    judged, notes = _judge_alike(use_case, split.holdout, scorer, champion)
    evidence = Evidence(
        rows=len(judged.labels),
        loss=task.loss(judged.labels, judged.candidate),
        baseline_loss=task.loss(judged.labels, judged.baseline),
        champion_loss=None if judged.champion is None else task.loss(judged.labels, judged.champion),
        parity=task.parity(fitted[best].pipeline, split.holdout.values, scorer.score(split.holdout.values).values),
        p99_ms=onnx.p99_ms(scorer, split.holdout.values),
        size_mb=len(model) / 1e6,
        failed_tests=(*failed_tests, *faults(use_case, rows)),
    )
    card = ModelCard(
        use_case=use_case.name,
        title=use_case.title,
        kind=use_case.kind,
        unit=use_case.unit,
        classes=use_case.classes,
        features=use_case.features,
        columns=use_case.columns,
        feature_version=feature_version,
        estimator=tried[best].estimator,
        data=rows.snapshot(),
        typical=_typical(use_case, split.fit.values),
        metrics=_metrics(task, evidence),
        evidence=evidence,
        verdict=judge(use_case.gate, evidence),
        interval=_interval(split.calibration, scorer, judged) if task.interval else None,
        created_ms=created_ms,
        libraries={name: version(name) for name in LIBRARIES},
    )
    return Candidate(card, model, judged, tried, notes)


def _choose(use_case: UseCase, task: Task, split: Split) -> tuple[list[Fitted], tuple[Tried, ...]]:
    reference = use_case.columns.index(use_case.relative_to) if use_case.relative_to else None
    fitted = [fit(estimator, task, split.fit, relative_to=reference) for estimator in use_case.candidates]
    tried = tuple(_try(use_case, task, *pair, split.calibration) for pair in zip(use_case.candidates, fitted, strict=True))
    return fitted, tried


def _try(use_case: UseCase, task: Task, estimator: Estimator, fitted: Fitted, calibration: Rows) -> Tried:
    answers = np.asarray(fitted.pipeline.predict(calibration.values), dtype=np.float64)
    return Tried(described(estimator, use_case.relative_to), task.loss(calibration.labels, answers), fitted.warned)


def _judge_alike(use_case: UseCase, holdout: Rows, scorer: Scorer, champion: StoredModel | None) -> tuple[Judged, tuple[str, ...]]:
    """Everybody's answers to the holdout rows whose baseline is known, so that all scores are over the same rows."""
    known = holdout.where(np.isfinite(holdout.baseline))
    if len(known) == 0:
        raise NotEnoughRows(f"none of the {len(holdout)} holdout rows has a baseline: no label was known before them")
    notes = []
    if len(known) < len(holdout):
        notes.append(f"{len(holdout) - len(known)} of {len(holdout)} holdout rows have no baseline and are left out")
    champions = None
    if champion is not None:
        if set(champion.card.columns) <= set(use_case.columns):
            champions = _champions_answers(use_case, champion, known.values)
        else:
            notes.append(f"the champion {champion.version} takes columns that are no longer declared and was not compared")
    return Judged(known.end_ms.tolist(), known.labels, scorer.score(known.values).values, known.baseline, champions), tuple(notes)


def _champions_answers(use_case: UseCase, champion: StoredModel, values: Matrix) -> Floats:
    columns = [use_case.columns.index(column) for column in champion.card.columns]
    scorer = Scorer(champion.onnx_path, kind=champion.card.kind, columns=len(columns))
    return scorer.score(np.ascontiguousarray(values[:, columns])).values


def _metrics(task: Task, evidence: Evidence) -> dict[str, float]:
    losses = {"": evidence.loss, "baseline_": evidence.baseline_loss, "champion_": evidence.champion_loss}
    return {f"{who}{task.metric.key}": round(task.metric.of(loss), 6) for who, loss in losses.items() if loss is not None}


def _interval(calibration: Rows, scorer: Scorer, judged: Judged) -> Interval | None:
    """The interval of the answers, its coverage measured on the judged rows; None where there are too few rows."""
    half = interval.half_width(calibration.labels, scorer.score(calibration.values).values)
    if not isfinite(half):
        return None
    measured = interval.covered(judged.labels, judged.candidate, half)
    return Interval(half_width=half, coverage=interval.COVERAGE, measured=round(measured, 4), rows=len(judged.labels))


def _typical(use_case: UseCase, values: Matrix) -> dict[str, float | None]:
    """The median of each column, None where it was never read: a row to try the model with."""
    columns = zip(use_case.columns, values.T, strict=True)
    read = ((name, column[np.isfinite(column)]) for name, column in columns)
    return {name: round(float(np.median(column)), 3) if len(column) else None for name, column in read}
