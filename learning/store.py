"""The model store: BentoML's store for the files, and aliases with an append-only history beside it.

    {models_path}/models/{use_case}/{version}/   model.onnx, card.json, model.yaml (BentoML's own; BENTOML_HOME={models_path} shows them)
    {models_path}/aliases/{use_case}.json        which version is champion, which is challenger; written by rename
    {models_path}/history/{use_case}.jsonl       every move of an alias, one line each, only ever appended to

Readers need the files only; nothing is ever unpickled.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

from learning.card import DataSnapshot, ModelCard
from mliot.clock import Clock, SystemClock
from mliot.errors import UserError

Alias = Literal["champion", "challenger"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger")
ONNX_FILE = "model.onnx"
CARD_FILE = "card.json"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ALIASES, _LOCK, _FRESH = ".json", ".lock", ".new"
"""What the folder of aliases holds of a use case: its aliases, the lock of who moves one, and the aliases before they are put in place."""
_VERSION = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")


class Pointer(msgspec.Struct, frozen=True):
    """The version that an alias stands for, and since when."""

    version: str
    since_ms: int


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One move of an alias: who moved it from which version to which, when and why, with the new version's metrics and data."""

    use_case: str
    alias: Alias
    was: str | None = msgspec.field(name="from")
    now: str | None = msgspec.field(name="to")
    who: str
    why: str
    at_ms: int
    metrics: dict[str, float] = {}
    data: DataSnapshot | None = None


class Aliases(msgspec.Struct, frozen=True):
    """Where the aliases of one use case stand. ``last`` is the move that wrote them: a crash cannot lose its line of the history."""

    champion: Pointer | None = None
    challenger: Pointer | None = None
    last: Move | None = None

    def pointer(self, alias: Alias) -> Pointer | None:
        return self.champion if alias == "champion" else self.challenger

    def moved(self, alias: Alias, pointer: Pointer | None, move: Move) -> "Aliases":
        if alias == "champion":
            return msgspec.structs.replace(self, champion=pointer, last=move)
        return msgspec.structs.replace(self, challenger=pointer, last=move)


@dataclass(frozen=True)
class StoredModel:
    """A model in the store."""

    version: str
    card: ModelCard
    onnx_path: Path


class ModelStore:
    """Models, aliases and their history in one folder. Any number of processes may use it at once."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._models = path / "models"
        self._aliases = path / "aliases"
        self._history = path / "history"
        self._clock = clock or SystemClock()

    def save(self, card: ModelCard, onnx: bytes) -> str:
        """Keep a model; returns its version ``{date}-{time}-{digest of card and model}``. No alias moves."""
        body = msgspec.json.encode(card)
        made = datetime.fromtimestamp(card.created_ms / 1000, UTC)
        version = f"{made:%Y%m%d-%H%M%S}-{blake2b(body + onnx, digest_size=4).hexdigest()}"
        folder = self._folder(card.use_case, version)
        if not folder.exists():
            _save_to_bentoml(self._models, card, version, {ONNX_FILE: onnx, CARD_FILE: body})
            for file in (ONNX_FILE, CARD_FILE):
                _sync(folder / file)
            _sync(folder)
        return version

    def get(self, use_case: str, version: str) -> StoredModel:
        """The model of that version. Raises :class:`UserError` where there is none or its card cannot be read."""
        folder = self._folder(use_case, version)
        try:
            card = msgspec.json.decode((folder / CARD_FILE).read_bytes(), type=ModelCard)
        except FileNotFoundError:
            raise UserError(f"{folder}: no model {version} of {use_case} is stored there") from None
        except msgspec.DecodeError as error:
            raise UserError(f"{folder / CARD_FILE}: is not a model card: {error}") from error
        return StoredModel(version, card, folder / ONNX_FILE)

    def versions(self, use_case: str) -> list[str]:
        """The stored versions of a use case, oldest first."""
        folder = self._models / _checked(_NAME, use_case)
        return sorted(entry.name for entry in folder.iterdir() if _VERSION.fullmatch(entry.name)) if folder.is_dir() else []

    def use_cases(self) -> list[str]:
        """The use cases that have or had an alias, by name. Raises :class:`OSError` where the folder cannot be read."""
        return sorted(name.removesuffix(_ALIASES) for name in self._alias_files() if _is_alias_file(name))

    def stray_aliases(self) -> list[str]:
        """The names in the folder of aliases that are neither an alias file nor what a move leaves beside one."""
        own = (_ALIASES, _LOCK, _FRESH)
        return sorted(name for name in self._alias_files() if not any(_is_alias_file(name, suffix) for suffix in own))

    def alias_path(self, use_case: str) -> Path:
        """The file that changes whenever an alias of ``use_case`` moves; it may not exist yet."""
        return self._aliases / f"{_checked(_NAME, use_case)}{_ALIASES}"

    def aliases(self, use_case: str) -> Aliases:
        """Where the aliases stand; none is set before the first move. Raises :class:`UserError` where the file was spoilt by hand."""
        path = self.alias_path(use_case)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Aliases)
        except FileNotFoundError:
            return Aliases()
        except msgspec.DecodeError as error:
            raise UserError(f"{path}: does not say where the aliases stand: {error}") from error

    def in_charge(self, use_case: str, alias: Alias = "champion") -> StoredModel | None:
        """The model that ``alias`` stands for, or None."""
        pointer = self.aliases(use_case).pointer(alias)
        return self.get(use_case, pointer.version) if pointer else None

    def move(self, use_case: str, alias: Alias, version: str | None, *, who: str, why: str) -> Move:
        """Let ``alias`` stand for ``version`` (None: for nothing), on record. Readers see the old or the new version, never neither.

        Raises :class:`UserError` where that version is not stored.
        """
        stored = self.get(use_case, version) if version else None
        with self._locked(use_case):
            before = self.aliases(use_case)
            was = before.pointer(alias)
            move = Move(
                use_case=use_case,
                alias=alias,
                was=was.version if was else None,
                now=version,
                who=who,
                why=why,
                at_ms=self._clock.now_ms(),
                metrics=stored.card.metrics if stored else {},
                data=stored.card.data if stored else None,
            )
            pointer = Pointer(version, move.at_ms) if version else None
            after = before.moved(alias, pointer, move)
            self._record(use_case, before.last)  # the line that a crash between the next two steps left out
            _replace(self.alias_path(use_case), msgspec.json.encode(after))
            self._record(use_case, move)
        return move

    def history(self, use_case: str) -> list[Move]:
        """Every move of the use case's aliases, oldest first."""
        moves = self._recorded(use_case)
        last = self.aliases(use_case).last
        return moves if last is None or last in moves[-1:] else [*moves, last]

    def _alias_files(self) -> list[str]:
        try:
            return [path.name for path in self._aliases.iterdir()]
        except FileNotFoundError:
            return []

    def _folder(self, use_case: str, version: str) -> Path:
        return self._models / _checked(_NAME, use_case) / _checked(_VERSION, version)

    def _recorded(self, use_case: str) -> list[Move]:
        try:
            lines = (self._history / f"{use_case}.jsonl").read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Move) for line in lines if line.endswith(b"\n")]

    def _record(self, use_case: str, move: Move | None) -> None:
        """Append ``move`` unless it is the last line already; a line that a crash cut short is cut off."""
        if move is None or move in self._recorded(use_case)[-1:]:
            return
        self._history.mkdir(parents=True, exist_ok=True)
        with (self._history / f"{use_case}.jsonl").open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(msgspec.json.encode(move) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self, use_case: str) -> Iterator[None]:
        self._aliases.mkdir(parents=True, exist_ok=True)
        with (self._aliases / f"{_checked(_NAME, use_case)}{_LOCK}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_alias_file(name: str, suffix: str = _ALIASES) -> bool:
    return name.endswith(suffix) and _NAME.fullmatch(name.removesuffix(suffix)) is not None


def _checked(pattern: re.Pattern[str], name: str) -> str:
    if not pattern.fullmatch(name):
        raise UserError(f"{name!r}: is not a use case's name or a version; allowed is {pattern.pattern}")
    return name


def _replace(path: Path, body: bytes) -> None:
    """Write ``path`` so that a reader, also after a crash, sees the old or the new content whole."""
    fresh = path.with_suffix(_FRESH)
    fresh.write_bytes(body)
    _sync(fresh)
    fresh.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _save_to_bentoml(path: Path, card: ModelCard, version: str, files: dict[str, bytes]) -> None:
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # else BentoML reports each save to its makers
    from bentoml import models  # imported here: it takes over a second, and readers do not need it
    from bentoml._internal.models import ModelStore as BentoModels  # the only way to name a folder without the environment

    path.mkdir(parents=True, exist_ok=True)
    labels = {"use_case": card.use_case, "kind": card.kind, "format": "onnx"}
    metadata = {"estimator": card.estimator, "feature_version": card.feature_version, "metrics": card.metrics}
    with models.create(f"{card.use_case}:{version}", labels=labels, metadata=metadata, _model_store=BentoModels(path)) as model:
        for name, body in files.items():
            Path(model.path_of(name)).write_bytes(body)
