"""Declarations in YAML files, read in one way: what is wrong is told in one line, with the file, the place and what is allowed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from mliot.errors import DeclarationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")


def read_yaml(path: Path, kind: TypeAdapter[T], allowed: str) -> T:
    """The file's content as ``kind``; an empty file is an empty mapping. ``allowed`` says what may stand there.

    Raises :class:`DeclarationError` where it cannot be read, is not YAML, names something twice, or is something else.
    """
    try:
        text = path.read_text("utf-8")
        if twice := _named_twice(yaml.compose(text, yaml.SafeLoader)):
            raise DeclarationError(f"{path}: {twice}")
        return kind.validate_python(yaml.safe_load(text) or {})
    except OSError as error:
        raise DeclarationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise DeclarationError(f"{path}: {first_fault(error).told}; {allowed}") from error


def _named_twice(document: yaml.Node | None) -> str | None:
    """What a mapping within ``document`` names twice, of which YAML would quietly keep the last, and where; None where nothing is."""
    nodes, seen = [document] if document else [], set[int]()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:  # a node may hold itself
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            nodes += [value for _, value in node.value]
            if twice := _repetition([key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]):
                return twice
    return None


def _repetition(keys: Sequence[yaml.ScalarNode]) -> str | None:
    first: dict[str, yaml.ScalarNode] = {}
    for key in keys:
        before = first.setdefault(key.value, key)
        if before is not key:
            lines = f"lines {before.start_mark.line + 1} and {key.start_mark.line + 1}"
            return f"{key.value} is named twice, in {lines}; one of them must go"
    return None


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
    return Fault(where, _plain(faults[0]), unknown)


def _plain(fault: "ErrorDetails") -> str:
    """What is wrong in words for people: pydantic speaks of inputs and validation."""
    match fault["type"]:
        case "extra_forbidden":
            return "there is no such field"
        case "missing":
            return "is missing"
        case _:
            return re.sub(r"^\w+ should ", "must ", fault["msg"].removeprefix("Value error, ")).replace(" after validation", "")
