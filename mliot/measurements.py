"""The known measurements: name, unit and plausible range, read from ``measurements.yaml`` and an optional file of the user's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mliot.errors import DeclarationError

BUILT_IN = Path(__file__).with_name("measurements.yaml")


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError("the lower end must be below the upper end")
    return ends


class Measurement(BaseModel):
    """One known measurement: its unit, its plausible range (both ends allowed) and a phrase that says what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str
    range: Annotated[tuple[float, float], AfterValidator(_ordered)]
    about: str = ""

    def allows(self, value: float) -> bool:
        """True where ``value`` is plausible for this measurement."""
        return self.range[0] <= value <= self.range[1]


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
_FILE = TypeAdapter(dict[Name, Measurement])


def load_measurements(extra: Path | None = None) -> Mapping[str, Measurement]:
    """The built-in measurements with those of ``extra`` added or replaced, by name, in the files' order.

    Raises :class:`DeclarationError` that names the file, the entry and what is allowed there.
    """
    known = dict(_read(BUILT_IN))
    if extra is not None:
        known.update(_read(extra))
    return known


def _read(path: Path) -> Mapping[str, Measurement]:
    try:
        return _FILE.validate_python(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        raise DeclarationError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DeclarationError(f"{path}: {where}: {first['msg']}; an entry is NAME: {{unit, range: [low, high], about}}") from error
