"""Mapping files: how a table of recorded readings becomes frames of one device."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mliot.declarations import read_yaml
from mliot.errors import DeclarationError

BUILT_IN = Path(__file__).with_name("mappings")
RIVER = "river:"
"""A source that begins with this is a data set that comes with the package river, by its class's name."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\-]{1,64}$")]


class Part(BaseModel):
    """A part of a mapping file: a field that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeColumn(Part):
    """Where a row's time stands. ``format``: iso, seconds or milliseconds since 1970, or a strptime pattern; UTC where there is no zone."""

    column: str
    format: str = "iso"


class Column(Part):
    """A column as a measurement: cell * ``scale`` + ``offset``, in the measurement's unit."""

    measurement: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
    scale: float = 1.0
    offset: float = 0.0


class TableMapping(Part):
    """One mapping file. ``source`` is a CSV file beside it (may be gzipped) or ``river:NAME``.

    ``live_rows``: rows at the end that are kept to be played live. ``align_s``: shifted times keep their place in a period of this length.
    """

    source: str
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    time: TimeColumn
    device: Name
    place_id: Name
    topic: str = ""
    columns: Mapping[str, Column] = Field(min_length=1)
    live_rows: Annotated[int, Field(ge=0)] = 0
    align_s: Annotated[int, Field(ge=1)] = 1

    @property
    def mqtt_topic(self) -> str:
        return self.topic or f"iot/{self.device}/frames"


@dataclass(frozen=True)
class Recording:
    """A mapping by its ``name``, and the table that it reads."""

    name: str
    table: Path
    mapping: TableMapping


def load_recording(name_or_path: str) -> Recording:
    """The mapping file at a path, or a built-in one by its name. Raises :class:`DeclarationError`: file, field, what is allowed."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = BUILT_IN / f"{name_or_path}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.yaml")))
        raise DeclarationError(f"{name_or_path}: no such mapping; give the path of a mapping file, or one of {known}")
    mapping = read_yaml(path, TypeAdapter(TableMapping), f"a mapping has {', '.join(TableMapping.model_fields)}")
    return Recording(path.stem, _table(path, mapping.source), mapping)


def _table(path: Path, source: str) -> Path:
    if not source.startswith(RIVER):
        return path.parent / source
    from river import datasets  # takes a second to import: only where it is used

    name = source.removeprefix(RIVER)
    kind = getattr(datasets, name, None)
    if kind is None:
        raise DeclarationError(f"{path}: source: river has no data set {name!r}")
    return Path(kind().path)
