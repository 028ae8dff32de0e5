"""What dbt needs to build a use case's training set: the arguments of the macro ``training_set`` and the resulting table's columns."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

import duckdb
from pydantic import BaseModel, ConfigDict

from mliot.errors import DeclarationError
from mliot.featuremodels import FeatureModels
from mliot.grains import Grain
from mliot.measurements import Measurement
from mliot.usecase import UseCase
from warehouse.columns import ColumnFile, Entry


class TrainingSet(BaseModel):
    """The arguments of the macro ``training_set``, checked; see ``dbt/macros/training_set.sql`` for what each one means."""

    model_config = ConfigDict(frozen=True)

    use_case: str
    features: str
    columns: tuple[str, ...]
    labels: str | None
    label_key: str | None
    label_column: str | None
    horizon_ms: int
    arrives_after_ms: int
    places: str


def training_set(use_case: UseCase, columns: ColumnFile, models: FeatureModels, measurements: Mapping[str, Measurement]) -> TrainingSet:
    """How ``use_case``'s training set is built. Raises :class:`DeclarationError`: the use case, the field, what is allowed there."""
    features = [model.name for model in models.features]
    if use_case.features not in features:
        raise _wrong(use_case, "features", f"no model {use_case.features!r}; there are {', '.join(features)}")
    known = columns.value_columns(use_case.features, measurements)
    for column in use_case.columns:
        if column not in known:
            raise _wrong(use_case, "columns", f"{use_case.features} has no column {column!r}{_nearest(column, known)}")
    labels = _label_model(use_case, models)
    if labels is not None and use_case.label.column not in columns.value_columns(labels, measurements):
        raise _wrong(use_case, "label.measurement", f"{use_case.label.measurement!r} is not known; known are {', '.join(measurements)}")
    _check_pattern(use_case)
    return TrainingSet(
        use_case=use_case.name,
        features=use_case.features,
        columns=use_case.columns,
        labels=labels,
        label_key=use_case.label.sensor,
        label_column=use_case.label.column,
        horizon_ms=use_case.label.horizon_ms,
        arrives_after_ms=use_case.label.arrives_after_ms,
        places=use_case.places,
    )


def training_columns(use_case: UseCase, columns: ColumnFile, measurements: Mapping[str, Measurement]) -> dict[str, Entry]:
    """Every column of ``training_<use case>`` in order."""
    features = columns.columns(use_case.features, measurements)
    unit = use_case.unit or "1"
    time = "ms since 1970 UTC"
    return {
        **{name: features[name] for name in ("feature_id", "key", "place_id", "start_ms", "end_ms")},
        "label_ms": Entry(about="when the label became true: its window's end", unit=time, required=True),
        "available_ms": Entry(about="when the label may be learnt from", unit=time, required=True),
        "label": Entry(about=f"what is to be predicted: {use_case.title}", unit=unit, required=True),
        "served": Entry(
            about="true where the features are those that the stream served, false where batch made them", unit="boolean", required=True
        ),
        "baseline": Entry(about="newest label of the key that was known at end_ms: the last value at the same delay", unit=unit),
        **{name: features[name] for name in use_case.columns},
    }


def _label_model(use_case: UseCase, models: FeatureModels) -> str | None:
    """The windows that hold the label, or None where it only arrives."""
    if use_case.label.measurement is None:
        return None
    features = models.feature(use_case.features)
    if not features.window_ms:
        others = ", ".join(model.name for model in models.features if model.window_ms)
        without = "without a measurement the label is the one that arrives on stream-label"
        raise _wrong(use_case, "label.measurement", f"{features.name} has no windows to take a label from; {others} have, and {without}")
    of_devices = use_case.label.sensor is not None
    windows = models.windows_like(features, of_devices=of_devices)
    span = Grain.of(features).span
    if windows is None:
        whose = "devices" if of_devices else "places"
        all_there_are = ", ".join(f"{model.name} ({Grain.of(model).span})" for model in models.windows)
        raise _wrong(use_case, "label.sensor", f"there are no windows of {whose} of one {span}; there are {all_there_are}")
    if use_case.label.horizon_ms % windows.window_ms:
        raise _wrong(use_case, "label.horizon", f"{use_case.label.horizon} is not a whole number of windows of one {span}")
    return windows.name


def _check_pattern(use_case: UseCase) -> None:
    """Python's patterns know more than DuckDB's (RE2): look-around and back references are refused."""
    try:
        with duckdb.connect() as con:
            con.execute("select regexp_full_match('', ?)", [use_case.places]).fetchall()
    except duckdb.Error as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise _wrong(use_case, "places", f"{use_case.places!r} is not a pattern that DuckDB knows (RE2): {reason}") from error


def _nearest(name: str, known: Mapping[str, Entry]) -> str:
    close = get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else f"; it has {', '.join(known)}"


def _wrong(use_case: UseCase, field: str, why: str) -> DeclarationError:
    return DeclarationError(f"use case {use_case.name}: {field}: {why}")
