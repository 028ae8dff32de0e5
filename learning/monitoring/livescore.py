"""Live scores: what each model answered in service, shadows included, beside the truth and the baseline at the same delay."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import psycopg

from learning.tasks import load_task
from mliot.errors import Transient
from mliot.settings import Settings
from mliot.usecase import UseCase

NEWEST = 5000
"""How many of the newest answers with a label are scored."""


@dataclass(frozen=True)
class Answered:
    """One answer whose label has come, and what the baseline would have said."""

    model_version: str
    shadow: bool
    value: float
    baseline: float
    label: float


@dataclass(frozen=True)
class LiveScore:
    """A model's loss over its answers, as its task counts it, and the baseline's over the same."""

    model_version: str
    shadow: bool
    rows: int
    loss: float
    baseline_loss: float


def read_answered(settings: Settings, use_case: str, newest: int = NEWEST) -> list[Answered]:
    """The newest answers that have label and baseline. Raises :class:`Transient` where PostgreSQL does not answer."""
    try:
        with psycopg.connect(settings.postgres_address, connect_timeout=10) as con:
            rows = con.execute(
                "select model_version, shadow, value, baseline, label from mliot.scored "
                "where use_case = %s and baseline is not null order by available_ms desc limit %s",
                [use_case, newest],
            ).fetchall()
    except psycopg.OperationalError as error:
        raise Transient(f"PostgreSQL: {' '.join(str(error).split())}") from error
    return [Answered(*row) for row in rows]


def live_scores(use_case: UseCase, answered: Iterable[Answered]) -> Sequence[LiveScore]:
    """One score a model version and role, what acts before its shadows. Pure."""
    loss = load_task(use_case.kind).loss

    def role(answer: Answered) -> tuple[bool, str]:
        return answer.shadow, answer.model_version

    scores = []
    for (shadow, version), group in groupby(sorted(answered, key=role), role):
        rows = list(group)
        labels, answers, baseline = (np.array([getattr(row, name) for row in rows]) for name in ("label", "value", "baseline"))
        scores.append(LiveScore(version, shadow, len(rows), loss(labels, answers), loss(labels, baseline)))
    return scores
