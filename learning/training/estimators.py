"""From a declared estimator to a scikit-learn pipeline: same declaration and same rows, same model.

Numbers are judged by the mean absolute error, so they are fitted to it or, the linear model, to Huber's loss close by: both answer with
the middle of what is plausible, where squared errors would chase the few readings of a burst or of a sensor that failed.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learning.training.change import Change
from learning.training.huber import StandardHuber
from learning.training.rows import NotEnoughRows, Rows
from mliot.usecase import Estimator, HistGradientBoosting, Linear, RandomForest

SEED = 20_25
Kind = Literal["class", "number"]


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline and what scikit-learn warned about meanwhile."""

    pipeline: Pipeline | Change
    warned: tuple[str, ...]


def fit(estimator: Estimator, kind: Kind, rows: Rows, *, relative_to: int | None = None) -> Fitted:
    """``estimator`` fitted on ``rows``, for numbers to the change from the column at ``relative_to`` where one is given.

    Raises :class:`NotEnoughRows` where the rows show one class only.
    """
    target = rows.labels.astype(np.int64) if kind == "class" else rows.labels
    if kind == "class" and len(np.unique(target)) < 2:
        raise NotEnoughRows(f"all {len(rows)} rows to learn from have the label {target[0]}")
    pipeline = build(estimator, kind) if relative_to is None else Change(build(estimator, kind), relative_to)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline.fit(rows.values, target)
    return Fitted(pipeline, _texts(caught))


def build(estimator: Estimator, kind: Kind) -> Pipeline:
    """The pipeline, not fitted. A missing reading becomes its column's median (0 where the column was never read)."""
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    match estimator:
        case RandomForest(trees=trees, depth=depth, leaf=leaf):
            grown = {"n_estimators": trees, "max_depth": depth, "min_samples_leaf": leaf, "random_state": SEED, "n_jobs": 1}
            model = RandomForestClassifier(**grown) if kind == "class" else RandomForestRegressor(criterion="absolute_error", **grown)
            return Pipeline([("imputer", imputer), ("model", model)])
        case HistGradientBoosting(iterations=iterations, rate=rate, leaves=leaves):
            # no early stopping: it would set aside rows at random, neighbours in time of those it fits
            boosted = {
                "max_iter": iterations,
                "learning_rate": rate,
                "max_leaf_nodes": leaves,
                "early_stopping": False,
                "random_state": SEED,
            }
            boosting = HistGradientBoostingClassifier if kind == "class" else HistGradientBoostingRegressor
            model = boosting(loss="log_loss" if kind == "class" else "absolute_error", **boosted)
            return Pipeline([("imputer", imputer), ("model", model)])
        case Linear(penalty=penalty):
            logistic = LogisticRegression(C=1 / penalty, max_iter=1000, random_state=SEED)
            model = logistic if kind == "class" else StandardHuber(alpha=penalty, max_iter=1000)
            return Pipeline([("imputer", imputer), ("scaler", StandardScaler()), ("model", model)])


def described(estimator: Estimator, relative_to: str | None = None) -> str:
    """The declaration in one line, such as ``random_forest(trees=100, depth=12, leaf=5)``, and the column it learns the change from."""
    parameters = ", ".join(f"{name}={value}" for name, value in estimator.model_dump(exclude={"kind"}).items())
    return f"{estimator.kind}({parameters})" + (f" on the change from {relative_to}" if relative_to else "")


def _texts(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{one.category.__name__}: {' '.join(str(one.message).split())}" for one in caught))
