"""Kinds of task, one file each: what :mod:`learning.tasks.task` demands of a kind is answered there and nowhere else.

A use case names its kind, ``kind="regression"``, and that is the file's name. Each file holds one :class:`Task` as ``TASK``.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from learning.tasks.task import Task
from mliot.errors import DeclarationError

_DEFINITION = "task"
"""The file among them that is no kind, but says what one is."""


def kinds() -> list[str]:
    """The names of all kinds, sorted."""
    return sorted(_files())


def load_task(kind: str) -> Task:
    """The task of that kind. Raises :class:`DeclarationError` where there is none, or where its file is wrong, with the file's place."""
    files = _files()
    if kind not in files:
        raise DeclarationError(f"kind {kind!r}: there is none of that name; there are {', '.join(sorted(files))}")
    found = getattr(_load(kind, files[kind]), "TASK", None)
    if not isinstance(found, Task) or found.name != kind:
        raise DeclarationError(f"{files[kind]}: TASK: there must be one, of a class in this file that is a learning.tasks.task.Task")
    return found


def _files() -> Mapping[str, Path]:
    return {path.stem: path for folder in __path__ for path in Path(folder).glob("[!_]*.py") if path.stem != _DEFINITION}


def _load(kind: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{kind}")
    except Exception as error:  # whoever adds a kind may raise anything: named with its place, never a traceback
        raise DeclarationError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error
