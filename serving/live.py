"""The models that answer now: loaded from the store, swapped whole when an alias moves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Event, Thread

import structlog

from learning.card import ModelCard
from learning.scoring import Scorer
from learning.store import ALIASES, Alias, ModelStore, Pointer
from mliot.clock import Clock

POLL_S = 0.2
RETRY_S = 5.0
ALIASES_FOLDER = "aliases"
"""Subject of a fault of the whole folder; a stray file's is its name below that."""
log = structlog.get_logger()

Stamp = tuple[int, int, int]
"""Of an alias file: changes whenever the file is replaced."""


@dataclass(frozen=True)
class LiveModel:
    """A model in memory, warmed up, and since when its alias stands for it."""

    alias: Alias
    version: str
    since_ms: int
    card: ModelCard
    scorer: Scorer


@dataclass(frozen=True)
class Look:
    """The last look at a use case's alias file: which one it was, what could not be read, and when that is tried again."""

    stamp: Stamp | None
    faults: Mapping[str, str]
    again_at: float


Models = Mapping[tuple[str, Alias], LiveModel]


class LiveModels:
    """Follows the aliases of a store in a thread of its own.

    A request takes its model with :meth:`get` once and keeps it, so that a swap in between changes nothing for it. What cannot be read
    (a stray file, a spoilt alias, a model that is not there) is named once, keeps nobody else from being loaded, and leaves the model
    that its alias stood for before in charge. An alias file that was removed stands for nothing, as it would after a start.
    """

    def __init__(self, store: ModelStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._models: Models = {}
        self._looks: dict[str, Look] = {}
        self._folder_faults: Mapping[str, str] = {}
        self._stop = Event()
        self._thread = Thread(target=self._follow, name="alias-watcher", daemon=True)

    def start(self) -> None:
        """Load what the aliases stand for now, then follow them."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def get(self, use_case: str, alias: Alias) -> LiveModel | None:
        return self._models.get((use_case, alias))

    def all(self) -> list[LiveModel]:
        """Every model in memory, by use case and alias."""
        return [model for _, model in sorted(self._models.items())]

    def failure(self, use_case: str, alias: Alias) -> str | None:
        """Why the version that ``alias`` stands for could not be loaded, or None."""
        look = self._looks.get(use_case)
        own = (look.faults.get(f"{use_case}/{alias}") or look.faults.get(use_case)) if look else None
        return own or self._folder_faults.get(ALIASES_FOLDER)

    def faults(self) -> dict[str, str]:
        """Everything in the store that could not be read at the last look, with the reason."""
        looks = list(self._looks.values())
        return {**self._folder_faults, **{subject: why for look in looks for subject, why in look.faults.items()}}

    def refresh(self) -> None:
        """Load the models of every use case whose aliases moved; those of the others stay, and so do all where loading fails."""
        try:
            names, stray = self._store.use_cases(), self._store.stray_aliases()
        except OSError as error:  # not to be taken for a folder without aliases
            self._name_folder({ALIASES_FOLDER: f"cannot be read: {error}"})
            return
        self._name_folder({f"{ALIASES_FOLDER}/{name}": "is no alias file; it is not looked at" for name in stray})
        for use_case in [*names, *(known for known in list(self._looks) if known not in names)]:
            self._look(use_case)

    def _look(self, use_case: str) -> None:
        known = self._looks.get(use_case)
        faults: dict[str, str] = {}
        stamp: Stamp | None = None
        try:
            stamp = self._stamp(use_case)
            if known is not None and known.stamp == stamp and not (known.faults and self._clock.monotonic() >= known.again_at):
                return
            loaded = dict(self._load(use_case, faults))
        except Exception as error:  # whatever stands in the store, the thread lives and serves the rest
            loaded = {key: model for key, model in self._models.items() if key[0] == use_case}
            faults[use_case] = _reason(error)
        self._models = {key: model for key, model in self._models.items() if key[0] != use_case} | loaded
        _name({} if known is None else known.faults, faults)
        self._looks[use_case] = Look(stamp, faults, self._clock.monotonic() + RETRY_S)

    def _load(self, use_case: str, faults: dict[str, str]) -> Iterator[tuple[tuple[str, Alias], LiveModel]]:
        aliases = self._store.aliases(use_case)
        for alias in ALIASES:
            pointer = aliases.pointer(alias)
            if pointer is None:
                continue
            try:
                yield (use_case, alias), self._model(use_case, alias, pointer)
            except Exception as error:  # a spoilt challenger takes no champion away
                faults[f"{use_case}/{alias}"] = _reason(error)
                before = self.get(use_case, alias)
                if before is not None:
                    yield (use_case, alias), before

    def _name_folder(self, faults: Mapping[str, str]) -> None:
        _name(self._folder_faults, faults)
        self._folder_faults = faults

    def _follow(self) -> None:
        while not self._stop.wait(POLL_S):
            self.refresh()

    def _stamp(self, use_case: str) -> Stamp | None:
        try:
            status = self._store.alias_path(use_case).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _model(self, use_case: str, alias: Alias, pointer: Pointer) -> LiveModel:
        known = self.get(use_case, alias)
        if known is not None and known.version == pointer.version:
            return LiveModel(alias, known.version, pointer.since_ms, known.card, known.scorer)
        stored = self._store.get(use_case, pointer.version)
        scorer = Scorer(stored.onnx_path, kind=stored.card.kind, columns=len(stored.card.columns))
        log.info("model loaded", use_case=use_case, alias=alias, version=stored.version, estimator=stored.card.estimator)
        return LiveModel(alias, stored.version, pointer.since_ms, stored.card, scorer)


def _name(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Logs what is news."""
    for subject, why in now.items():
        if before.get(subject) != why:
            log.warning("the model store holds something that cannot be read", subject=subject, reason=why)
    for subject in before.keys() - now.keys():
        log.info("it can be read again", subject=subject)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
