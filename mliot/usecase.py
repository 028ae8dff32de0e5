"""What a use case declares.

A use case is a file (:mod:`usecases` loads them). From it come the training assets, the gate, the endpoint, live inference, shadow
scoring, drift report and dashboard page.
"""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Declaration(BaseModel):
    """A part of a use case: immutable, and a field that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole_ms(value: timedelta) -> timedelta:
    if value < timedelta(0) or value.microseconds % 1000:
        raise ValueError("must be 0 or more, in whole milliseconds")
    return value


Span = Annotated[timedelta, AfterValidator(_whole_ms)]


class Label(Declaration):
    """What is to be predicted: ``statistic`` of ``measurement`` over the window that starts ``horizon`` after the feature row's.

    ``sensor`` restricts it to one device's windows (of the same length as the features'), else the place's windows are taken.
    A label may be learnt from ``arrives_after`` its window's end, no earlier.

    A label that arrives on the topic ``stream-label`` stands instead of the one in the window. Without a ``measurement`` there are no
    others: for what no device measures, and for rows that have no windows, those of single frames.
    """

    measurement: str | None = None
    statistic: Literal["last", "avg", "min", "max"] = "last"
    sensor: str | None = None
    horizon: Span = timedelta(0)
    arrives_after: Span = timedelta(0)

    @model_validator(mode="after")
    def _consistent(self) -> "Label":
        if self.sensor is not None and self.measurement is None:
            raise ValueError("sensor needs a measurement, whose windows of that device hold the label")
        return self

    @property
    def column(self) -> str | None:
        """The label's column in the window models; None where no window holds it."""
        return f"{self.measurement}_{self.statistic}" if self.measurement else None

    @property
    def horizon_ms(self) -> int:
        return self.horizon // timedelta(milliseconds=1)

    @property
    def arrives_after_ms(self) -> int:
        return self.arrives_after // timedelta(milliseconds=1)


class RandomForest(Declaration):
    """Bagged trees (Breiman 2001), scikit-learn's RandomForestClassifier or -Regressor.

    For numbers each tree splits by and answers with medians: least absolute deviations (Breiman, Friedman, Olshen and Stone 1984, chapter
    8). The forest answers with the trees' mean, so a burst that fills leaves of its own still shows, more than in the other two.
    """

    kind: Literal["random_forest"] = "random_forest"
    trees: Annotated[int, Field(ge=1, le=2000)] = 100
    depth: Annotated[int, Field(ge=1, le=64)] | None = 12
    leaf: Annotated[int, Field(ge=1)] = 5


class HistGradientBoosting(Declaration):
    """Histogram gradient boosting, scikit-learn's HistGradientBoostingClassifier or -Regressor.

    For numbers on absolute errors (Friedman 2001, "LAD_TreeBoost"), whose best answer is the median (Koenker and Bassett 1978).
    """

    kind: Literal["hist_gradient_boosting"] = "hist_gradient_boosting"
    iterations: Annotated[int, Field(ge=1, le=5000)] = 200
    rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    leaves: Annotated[int, Field(ge=2, le=1024)] = 15


class Linear(Declaration):
    """Scaled linear model: logistic regression for classes, Huber's robust regression (Huber 1964, 1981) for numbers.

    ``penalty`` weighs the squares of the coefficients; for numbers the label is scaled too, so it is the same in every unit.
    """

    kind: Literal["linear"] = "linear"
    penalty: Annotated[float, Field(gt=0)] = 1.0


Estimator = Annotated[RandomForest | HistGradientBoosting | Linear, Field(discriminator="kind")]


class Gate(Declaration):
    """What a candidate must show on the holdout before the alias moves.

    ``over_baseline`` and ``over_champion`` are fractions of the baseline's (champion's) loss (1 - F1, or MAE) that the candidate must save:
    at least so much of the baseline's, and more than so much of the champion's. A candidate that equals the champion leaves it in charge.
    ``onnx_parity`` is how far an ONNX answer may lie from scikit-learn's, relative; ``p99_ms`` how long one row may take, ``size_mb`` how
    large the file may be; ``least_rows`` how many holdout rows it takes to judge at all.
    """

    over_baseline: float = 0.02
    over_champion: float = 0.0
    onnx_parity: Annotated[float, Field(gt=0)] = 1e-4
    p99_ms: Annotated[float, Field(gt=0)] = 20.0
    size_mb: Annotated[float, Field(gt=0)] = 64.0
    least_rows: Annotated[int, Field(ge=1)] = 100


class Action(Declaration):
    """The command that a prediction becomes: ``action`` with the predicted value, to the device that ``devices`` names.

    ``dwell``: the least time between two commands that change the value; ``per_hour``: the most such changes an hour (the same value again
    is the device's sign that it is looked after, and always sent); ``time_to_live``: so long after the decision the device must not obey
    any more; ``stalest``: the oldest row that is acted on. What these rules hold back is on record, with the reason.
    """

    action: str
    devices: str = "{place_id}-fan"
    dwell: Span = timedelta(minutes=2)
    time_to_live: Span = timedelta(seconds=90)
    per_hour: Annotated[int, Field(ge=1)] = 30
    stalest: Span = timedelta(minutes=3)


RENAMED_KINDS = {"class": "classification", "number": "regression"}
"""What kinds were called before."""


def _plain_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
        raise ValueError("must begin with a letter a to z and hold only those, digits and _, at most 40 in all")
    return value


Name = Annotated[str, AfterValidator(_plain_name)]


class UseCase(Declaration):
    """One use case, whole. ``features`` is a dbt feature model, ``columns`` those of its columns that the model sees.

    ``title`` and ``unit`` are for people. ``kind`` is the name of a file in ``learning/tasks``: "classification", which needs ``classes``,
    whole numbers, or "regression", which has none; :func:`usecases.load_use_cases` asks it. ``candidates`` are trained beside each other,
    and the best one of them on the calibration stretch meets the ``gate`` on the ``holdout``, the newest share of the rows. ``places`` is a
    regular expression that a place's id must match whole; ``acts`` makes commands of predictions; ``retrain_cron`` says when to train
    again.

    ``relative_to`` is for a kind whose labels can be added: models learn the label minus this one of ``columns``, and the ONNX file adds
    it back. It suits a label that stays near its newest reading, which should then be that reading, in the label's unit.
    """

    name: Name
    title: str
    kind: str
    unit: str = ""
    features: str
    columns: tuple[str, ...] = Field(min_length=1)
    label: Label
    relative_to: str | None = None
    classes: tuple[int, ...] = ()
    candidates: tuple[Estimator, ...] = Field(min_length=1)
    gate: Gate = Gate()
    holdout: Annotated[float, Field(gt=0, lt=0.9)] = 0.25
    places: str = ".*"
    acts: Action | None = None
    retrain_cron: str = "17 * * * *"

    @model_validator(mode="after")
    def _consistent(self) -> "UseCase":
        if self.kind in RENAMED_KINDS:
            raise ValueError(f"kind {self.kind!r} is called {RENAMED_KINDS[self.kind]!r} now")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("columns holds a name twice")
        if self.relative_to is not None and self.relative_to not in self.columns:
            raise ValueError(f"relative_to {self.relative_to!r} is not among columns: {', '.join(self.columns)}")
        re.compile(self.places)
        return self

    @property
    def delay_ms(self) -> int:
        """From a feature window's end to the moment its label may be learnt from: the baseline's delay and the split's gap."""
        return self.label.horizon_ms + self.label.arrives_after_ms

    def has_label(self, value: float) -> bool:
        """True where ``value`` can be a label: one of the classes, or any number where there are none."""
        return not self.classes or value in self.classes

    def serves(self, place_id: str) -> bool:
        """True where this use case predicts for ``place_id`` (``places`` is a pattern that must match whole)."""
        return re.fullmatch(self.places, place_id) is not None
