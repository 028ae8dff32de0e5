"""From a declared estimator to a scikit-learn pipeline: same declaration and same rows, same model. The task says which model it is."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from learning.tasks.task import Task
from learning.training.change import Change
from learning.training.rows import NotEnoughRows, Rows
from mliot.usecase import Estimator, HistGradientBoosting, Linear, RandomForest

SEED = 20_25


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline and what scikit-learn warned about meanwhile."""

    pipeline: Pipeline | Change
    warned: tuple[str, ...]


def fit(estimator: Estimator, task: Task, rows: Rows, *, relative_to: int | None = None) -> Fitted:
    """``estimator`` fitted on ``rows``, to the change from the column at ``relative_to`` where one is given.

    Raises :class:`NotEnoughRows` where nothing can be learnt from the rows' labels.
    """
    if lacks := task.lacks(rows.labels):
        raise NotEnoughRows(lacks)
    pipeline = build(estimator, task) if relative_to is None else Change(build(estimator, task), relative_to)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline.fit(rows.values, task.target(rows.labels))
    return Fitted(pipeline, _texts(caught))


def build(estimator: Estimator, task: Task) -> Pipeline:
    """The pipeline, not fitted. A missing reading becomes its column's median (0 where the column was never read)."""
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    match estimator:
        case RandomForest(trees=trees, depth=depth, leaf=leaf):
            grown = {"n_estimators": trees, "max_depth": depth, "min_samples_leaf": leaf, "random_state": SEED, "n_jobs": 1}
            return Pipeline([("imputer", imputer), ("model", task.forest(**grown))])
        case HistGradientBoosting(iterations=iterations, rate=rate, leaves=leaves):
            # no early stopping: it would set aside rows at random, neighbours in time of those it fits
            boosted = {
                "max_iter": iterations,
                "learning_rate": rate,
                "max_leaf_nodes": leaves,
                "early_stopping": False,
                "random_state": SEED,
            }
            return Pipeline([("imputer", imputer), ("model", task.boosting(**boosted))])
        case Linear(penalty=penalty):
            return Pipeline([("imputer", imputer), ("scaler", StandardScaler()), ("model", task.linear(penalty))])


def described(estimator: Estimator, relative_to: str | None = None) -> str:
    """The declaration in one line, such as ``random_forest(trees=100, depth=12, leaf=5)``, and the column it learns the change from."""
    parameters = ", ".join(f"{name}={value}" for name, value in estimator.model_dump(exclude={"kind"}).items())
    return f"{estimator.kind}({parameters})" + (f" on the change from {relative_to}" if relative_to else "")


def _texts(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{one.category.__name__}: {' '.join(str(one.message).split())}" for one in caught))
