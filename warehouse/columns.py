"""What every column of the staging and feature models is, read from ``dbt/columns.yaml`` and filled in for every known measurement."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mliot.declarations import read_yaml
from mliot.errors import DeclarationError
from mliot.featuremodels import CompiledModel, FeatureModels
from mliot.grains import Grain
from mliot.measurements import Measurement


class Entry(BaseModel):
    """One column: a phrase for people, its unit, whether it may be null (``required``: never) and whether a value may come twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: Annotated[str, Field(min_length=1)]
    unit: Annotated[str, Field(min_length=1)]
    required: bool = False
    unique: bool = False

    def of(self, name: str, measurement: Measurement) -> "Entry":
        """This entry of a group, said of one measurement."""
        about = self.about.format(name=name, about=measurement.about or name)
        return Entry(about=about, unit=self.unit.format(unit=measurement.unit or "1"), required=self.required)


class ModelColumns(BaseModel):
    """One model's columns in order: ``fixed``, then those of each measurement, then ``derived``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    fixed: tuple[dict[str, Entry], ...]
    each_measurement: Literal["reading", "statistics"] | None = None
    derived: dict[str, Entry] = {}
    tested: bool = True

    @property
    def names(self) -> dict[str, Entry]:
        """The fixed columns in order: what identifies and describes the row."""
        return {name: entry for part in self.fixed for name, entry in part.items()}


UNDESCRIBED = Entry(about="not described", unit="1")
"""A column of a feature model that neither ``columns.yaml`` nor a measurement describes."""


class ColumnFile(BaseModel):
    """``dbt/columns.yaml``; further top-level keys only hold what is used by YAML anchors."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    groups: dict[Literal["reading", "statistics"], dict[str, Entry]]
    kinds: dict[Literal["window", "feature"], ModelColumns]
    models: dict[str, ModelColumns]

    def with_models(self, models: FeatureModels, measurements: Mapping[str, Measurement]) -> "ColumnFile":
        """With an entry for every one of ``models``: what the file does not name follows from its kind, grain and compiled columns."""
        found = dict(self.models)
        for window in models.windows:
            found.setdefault(window.name, self._of_kind("window", window, {}))
        for feature in models.features:
            if feature.name not in found:
                known = {pattern.format(name=n): e.of(n, m) for n, m in measurements.items() for pattern, e in self._patterns(feature)}
                derived = {column: known.get(column, UNDESCRIBED) for column in feature.columns}
                found[feature.name] = self._of_kind("feature", feature, derived)
        return self.model_copy(update={"models": found})

    def _patterns(self, model: CompiledModel) -> Iterable[tuple[str, Entry]]:
        return self.groups["statistics" if model.window_ms else "reading"].items()

    def _of_kind(self, kind: Literal["window", "feature"], model: CompiledModel, derived: dict[str, Entry]) -> ModelColumns:
        kept = self.kinds[kind]
        grain = Grain.of(model)
        whose = "device" if grain.by_device else "place"
        about = kept.about.format(whose=whose, span=grain.span if model.window_ms else "frame")
        return kept.model_copy(update={"about": about, "derived": derived})

    def columns(self, model: str, measurements: Mapping[str, Measurement]) -> dict[str, Entry]:
        """Every column of ``model`` in order. Raises :class:`DeclarationError` where a measurement's name makes a column twice."""
        declared = self.models[model]
        found = declared.names
        for name, measurement in measurements.items():
            for pattern, entry in self.groups[declared.each_measurement].items() if declared.each_measurement else ():
                _add(found, pattern.format(name=name), entry.of(name, measurement), model)
        for column, entry in declared.derived.items():
            _add(found, column, entry, model)
        return found

    def value_columns(self, model: str, measurements: Mapping[str, Measurement]) -> dict[str, Entry]:
        """The columns of ``model`` that hold values: all but the fixed ones."""
        fixed = self.models[model].names
        return {name: entry for name, entry in self.columns(model, measurements).items() if name not in fixed}


def load_columns(path: Path) -> ColumnFile:
    """The column file at ``path``. Raises :class:`DeclarationError` that names the entry and what is wrong with it."""
    return read_yaml(path, TypeAdapter(ColumnFile), "a column is NAME: {about, unit, required, unique}")


def _add(found: dict[str, Entry], column: str, entry: Entry, model: str) -> None:
    if column in found:
        raise DeclarationError(f"measurements: {model} would have the column {column!r} twice; rename the measurement that makes it")
    found[column] = entry
