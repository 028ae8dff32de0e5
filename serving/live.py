"""The models that answer now: loaded from the store, swapped whole when an alias moves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Event, Thread

import structlog

from mliot.clock import Clock
from mliot.errors import MliotError
from mliot.modelcard import ModelCard
from mliot.modelstore import ALIASES, Alias, ModelStore, Pointer
from mliot.scoring import Scorer

POLL_S = 0.2
RETRY_S = 5.0
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
class Failure:
    """Why a use case's models could not be loaded, and when that is tried again."""

    reason: str
    stamp: Stamp
    again_at: float


Models = Mapping[tuple[str, Alias], LiveModel]


class LiveModels:
    """Follows the aliases of a store in a thread of its own.

    A request takes its model with :meth:`get` once and keeps it, so that a swap in between changes nothing for it.
    """

    def __init__(self, store: ModelStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._models: Models = {}
        self._stamps: dict[str, Stamp] = {}
        self._failures: dict[str, Failure] = {}
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

    def failure(self, use_case: str) -> str | None:
        """Why the use case's newest version could not be loaded, or None."""
        failure = self._failures.get(use_case)
        return failure.reason if failure else None

    def refresh(self) -> None:
        """Load the models of every use case whose aliases moved; those of the others stay, and so do all where loading fails."""
        for use_case in self._store.use_cases():
            stamp = self._stamp(use_case)
            if stamp is None or self._stamps.get(use_case) == stamp or self._waits(use_case, stamp):
                continue
            try:
                loaded = dict(self._load(use_case))
            except (MliotError, OSError) as error:
                self._fail(use_case, stamp, str(error))
                continue
            self._stamps[use_case] = stamp
            self._failures.pop(use_case, None)
            self._models = {key: model for key, model in self._models.items() if key[0] != use_case} | loaded

    def _waits(self, use_case: str, stamp: Stamp) -> bool:
        failure = self._failures.get(use_case)
        return failure is not None and failure.stamp == stamp and self._clock.monotonic() < failure.again_at

    def _fail(self, use_case: str, stamp: Stamp, reason: str) -> None:
        if self.failure(use_case) != reason:
            log.warning("an alias moved, but its model cannot be loaded", use_case=use_case, reason=reason)
        self._failures[use_case] = Failure(reason, stamp, self._clock.monotonic() + RETRY_S)

    def _follow(self) -> None:
        while not self._stop.wait(POLL_S):
            self.refresh()

    def _stamp(self, use_case: str) -> Stamp | None:
        try:
            status = self._store.alias_path(use_case).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _load(self, use_case: str) -> Iterator[tuple[tuple[str, Alias], LiveModel]]:
        aliases = self._store.aliases(use_case)
        for alias in ALIASES:
            pointer = aliases.pointer(alias)
            if pointer is not None:
                yield (use_case, alias), self._model(use_case, alias, pointer)

    def _model(self, use_case: str, alias: Alias, pointer: Pointer) -> LiveModel:
        known = self.get(use_case, alias)
        if known is not None and known.version == pointer.version:
            return LiveModel(alias, known.version, pointer.since_ms, known.card, known.scorer)
        stored = self._store.get(use_case, pointer.version)
        scorer = Scorer(stored.onnx_path, kind=stored.card.kind, columns=len(stored.card.columns))
        log.info("model loaded", use_case=use_case, alias=alias, version=stored.version, estimator=stored.card.estimator)
        return LiveModel(alias, stored.version, pointer.since_ms, stored.card, scorer)
