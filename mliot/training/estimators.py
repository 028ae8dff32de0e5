"""From a declared estimator to a scikit-learn pipeline: same declaration and same rows, same model."""

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
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mliot.training.rows import NotEnoughRows, Rows
from mliot.usecase import Estimator, HistGradientBoosting, Linear, RandomForest

SEED = 20_25
Kind = Literal["class", "number"]


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline and what scikit-learn warned about meanwhile."""

    pipeline: Pipeline
    warned: tuple[str, ...]


def fit(estimator: Estimator, kind: Kind, rows: Rows) -> Fitted:
    """``estimator`` fitted on ``rows``. Raises :class:`NotEnoughRows` where they show one class only."""
    target = rows.labels.astype(np.int64) if kind == "class" else rows.labels
    if kind == "class" and len(np.unique(target)) < 2:
        raise NotEnoughRows(f"all {len(rows)} rows to learn from have the label {target[0]}")
    pipeline = build(estimator, kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline.fit(rows.values, target)
    return Fitted(pipeline, _texts(caught))


def build(estimator: Estimator, kind: Kind) -> Pipeline:
    """The pipeline, not fitted. A missing reading becomes its column's median (0 where the column was never read)."""
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    match estimator:
        case RandomForest(trees=trees, depth=depth, leaf=leaf):
            forest = RandomForestClassifier if kind == "class" else RandomForestRegressor
            model = forest(n_estimators=trees, max_depth=depth, min_samples_leaf=leaf, random_state=SEED, n_jobs=1)
            return Pipeline([("imputer", imputer), ("model", model)])
        case HistGradientBoosting(iterations=iterations, rate=rate, leaves=leaves):
            boosting = HistGradientBoostingClassifier if kind == "class" else HistGradientBoostingRegressor
            # no early stopping: it would set aside rows at random, neighbours in time of those it fits
            model = boosting(max_iter=iterations, learning_rate=rate, max_leaf_nodes=leaves, early_stopping=False, random_state=SEED)
            return Pipeline([("imputer", imputer), ("model", model)])
        case Linear(penalty=penalty):
            model = LogisticRegression(C=1 / penalty, max_iter=1000, random_state=SEED) if kind == "class" else Ridge(alpha=penalty)
            return Pipeline([("imputer", imputer), ("scaler", StandardScaler()), ("model", model)])


def described(estimator: Estimator) -> str:
    """The declaration in one line, such as ``random_forest(trees=100, depth=12, leaf=5)``."""
    parameters = ", ".join(f"{name}={value}" for name, value in estimator.model_dump(exclude={"kind"}).items())
    return f"{estimator.kind}({parameters})"


def _texts(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{one.category.__name__}: {' '.join(str(one.message).split())}" for one in caught))
