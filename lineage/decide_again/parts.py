"""What a replay works with: the log, the compiled models, the use cases, the model store, the store, and whom to tell of progress."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from learning.card import ModelCard
from learning.scoring import Scorer
from lineage.decide_again.past import Source
from mliot.featuremodels import FeatureModels
from mliot.messages import Message
from mliot.usecase import UseCase

M = TypeVar("M", bound=Message)


class Stored(Protocol):
    """The store, where decisions are stored beside the log."""

    def __call__(self, kind: type[M], ids: Sequence[str]) -> Mapping[str, M]:
        """The messages of ``kind`` that are stored under ``ids``."""
        ...


class Progress(Protocol):
    """Is told what is being done."""

    def begin(self, what: str, total: int | None = None) -> Callable[[int], None]:
        """A step begins; the answer is to be called with how much more is done."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a replay works with. ``model`` answers a stored model, or raises :class:`UserError`."""

    source: Source
    models: FeatureModels
    use_cases: Mapping[str, UseCase]
    model: Callable[[str, str], tuple[ModelCard, Scorer]]
    stored: Stored
    progress: Progress
