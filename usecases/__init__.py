"""Declared use cases, one file each, and how they are found; see :mod:`mliot.usecase` for what a declaration holds."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from learning.tasks import load_task
from mliot.declarations import first_fault
from mliot.errors import DeclarationError
from mliot.usecase import Declaration, UseCase

BUILT_IN = Path(__file__).parent


def load_use_cases(extra: Path | None = None) -> Mapping[str, UseCase]:
    """The built-in use cases and those of the folder ``extra``, by name, sorted by name.

    Raises :class:`DeclarationError` that names the file, the field and what is allowed there.
    """
    found: dict[str, UseCase] = {}
    files: dict[str, Path] = {}
    folders = [BUILT_IN, *([extra] if extra else [])]
    for folder in folders:
        if not folder.is_dir():
            raise DeclarationError(f"{folder}: is not a folder of use case files (MLIOT_USECASES)")
        for path in sorted(folder.glob("[!_]*.py")):
            declared = [value for value in vars(_load(path)).values() if isinstance(value, UseCase)]
            if not declared:
                raise DeclarationError(f"{path}: declares no UseCase")
            for use_case in declared:
                if fault := _fault(use_case):
                    raise DeclarationError(f"{path}: UseCase: {fault}")
                if use_case.name in found:
                    raise DeclarationError(f"{path}: name: a use case named {use_case.name!r} stands in {files[use_case.name]} already")
                found[use_case.name] = use_case
                files[use_case.name] = path
    return dict(sorted(found.items()))


def _fault(use_case: UseCase) -> str:
    """What the task says of it; empty where all is well."""
    try:
        return load_task(use_case.kind).fault(use_case)
    except DeclarationError as error:
        return str(error)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mliot_usecase_{path.stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ValidationError as error:
        fault = first_fault(error)
        raise DeclarationError(f"{path}: {error.title}: {fault.told}{_allowed(error.title) if fault.unknown else ''}") from error
    except Exception as error:  # a user's file may raise anything: named with its place, never a traceback
        raise DeclarationError(f"{path}: {type(error).__name__}: {error}") from error
    return module


def _allowed(title: str) -> str:
    kinds: dict[str, type[Declaration]] = {kind.__name__: kind for kind in Declaration.__subclasses__()}
    return f"; {title} has {', '.join(kinds[title].model_fields)}" if title in kinds else ""
