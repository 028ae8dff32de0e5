"""Reads one chain for the trace page: a question of its own each time, on a connection of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.view.chain import StepView, original_view, step_view
from lineage.store import connected
from lineage.trace import Trace
from lineage.trace_rows import find, read_chain
from mliot.grains import Grains
from mliot.settings import Settings
from mliot.usecase import UseCase

FRAMES_LISTED = 60


@dataclass(frozen=True)
class Traced:
    """The chain around an id; ``original`` is a dead letter's bytes, as shown, and their size in words."""

    root: StepView
    original: tuple[str, str] | None

    @property
    def growing(self) -> bool:
        """True while a step is awaited."""
        return _awaits(self.root)


def read_trace(settings: Settings, use_cases: Mapping[str, UseCase], grains: Grains, id: str, now_ms: int) -> Traced | None:
    """The chain of ``id`` as it stands; None where the store has no such id. Raises :class:`mliot.errors.Transient` where it is away."""
    with connected(settings) as store:
        subject = find(store, grains, id)
        if subject is None:
            return None
        chain = read_chain(store, grains, subject, listed=FRAMES_LISTED)
    root = step_view(Trace(chain, use_cases, grains, now_ms, int(settings.grace_s * 1000)).tree())
    return Traced(root, original_view(chain.letter.letter.original) if chain.letter else None)


def _awaits(step: StepView) -> bool:
    return step.awaited or any(map(_awaits, step.children))
