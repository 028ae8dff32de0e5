"""The known measurements: name, unit and plausible range, read from ``measurements.yaml`` and an optional file of the user's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from mliot.declarations import read_yaml

MAX_END = 1e18
"""Models compute in single precision (to 3.4e38), and a window's variance squares its readings."""
BUILT_IN = Path(__file__).with_name("measurements.yaml")


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError("the lower end must be below the upper end")
    if not -MAX_END <= ends[0] < ends[1] <= MAX_END:
        raise ValueError(f"the ends must lie between -{MAX_END:g} and {MAX_END:g}")
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

    Raises :class:`mliot.errors.DeclarationError` that names the file, the entry and what is allowed there.
    """
    known = dict(_read(BUILT_IN))
    if extra is not None:
        known.update(_read(extra))
    return known


def _read(path: Path) -> Mapping[str, Measurement]:
    return read_yaml(path, _FILE, "an entry is NAME: {unit, range: [low, high], about}")
