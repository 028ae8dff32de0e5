"""Declarations in YAML files, read in one way: what is wrong is told in one line, with the file, the place and what is allowed."""

from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from mliot.errors import DeclarationError

T = TypeVar("T")


def read_yaml(path: Path, kind: TypeAdapter[T], allowed: str) -> T:
    """The file's content as ``kind``; an empty file is an empty mapping. ``allowed`` says what may stand there.

    Raises :class:`DeclarationError` where it cannot be read, is not YAML, or is something else.
    """
    try:
        return kind.validate_python(yaml.safe_load(path.read_text("utf-8")) or {})
    except OSError as error:
        raise DeclarationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise DeclarationError(f"{path}: {first_fault(error).told}; {allowed}") from error


class Fault(NamedTuple):
    """What is wrong with a declaration: ``where`` (a dotted path, empty for the whole) and ``what``."""

    where: str
    what: str
    unknown: bool

    @property
    def told(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def first_fault(error: ValidationError) -> Fault:
    """The fault to tell of several: a field that there is not comes first, since it is what a misspelt one looks like."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in faults[0]["loc"] if part != "[key]")
    unknown = faults[0]["type"] == "extra_forbidden"
    return Fault(where, "there is no such field" if unknown else faults[0]["msg"].removeprefix("Value error, "), unknown)
