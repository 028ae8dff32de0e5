"""The model port in memory: it wants of a request what the endpoint wants, and refuses what that refuses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from learning.answers import MAX_ROWS
from mliot.errors import Transient
from mliot.fields import LARGEST
from mliot.usecase import UseCase
from streaming.runtime.effects import Champion, Champions, NotScored, Score, Scored, Scores

Answer = Callable[[str, Mapping[str, float | None]], float]
"""What a champion of this version says of a row."""


def as_declared(use_cases: Mapping[str, UseCase], answer: Answer, version: str = "v1") -> dict[str, tuple[Champion, Answer]]:
    """A champion of each use case that wants what its file declares."""
    return {name: (Champion(version, one.features, one.columns), answer) for name, one in use_cases.items()}


@dataclass
class SimulatedModelServer:
    """``models`` are the champions by use case, with what each answers; ``fails`` says on which rows those of a use case fail, ``away``
    why the whole server does not answer. A use case of ``known`` without a champion waits for its first."""

    models: dict[str, tuple[Champion, Answer]] = field(default_factory=dict)
    fails: dict[str, Callable[[Mapping[str, float | None]], bool]] = field(default_factory=dict)
    known: Sequence[str] = ()
    away: str = ""

    def champions(self, _: Champions) -> Mapping[str, Champion | NotScored]:
        self._answer()
        waiting = {name: NotScored(f"there is no champion of {name} yet", expected=True) for name in self.known}
        return {**waiting, **{name: champion for name, (champion, _) in self.models.items()}}

    def score(self, effect: Score) -> Scores | NotScored:
        self._answer()
        name = effect.use_case
        if name not in self.models:
            return NotScored(f"there is no {'champion of ' if name in self.known else ''}{name}")
        champion, answer = self.models[name]
        if not 1 <= len(effect.rows) <= MAX_ROWS:
            return NotScored(f"rows: must be 1 to {MAX_ROWS:,}")
        for number, row in enumerate(effect.rows):
            if row.keys() != set(champion.columns):
                return NotScored(f"rows[{number}]: does not hold {', '.join(champion.columns)}")
        for number, row in enumerate(effect.rows):
            if any(value is not None and abs(value) > LARGEST for value in row.values()):
                return NotScored(f"rows[{number}]: must be between -{LARGEST:.3g} and {LARGEST:.3g}")
        if any(map(self.fails.get(name, _never), effect.rows)):
            return NotScored(f"the model {champion.version} of {name} fails")
        return Scores(champion.version, [Scored(answer(champion.version, row)) for row in effect.rows])

    def _answer(self) -> None:
        if self.away:
            raise Transient(self.away)


def _never(_: Mapping[str, float | None]) -> bool:
    return False
