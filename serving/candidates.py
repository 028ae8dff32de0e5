"""The newest candidate of each use case: what the gate said when it was trained, and why nothing is in charge."""

from learning.card import ModelCard
from learning.store import ModelStore
from mliot.clock import clock_time
from mliot.errors import MliotError
from serving.schema import NewestCandidate

NONE_TRAINED = "no candidate was trained; Dagster trains the first one as soon as there are enough labelled rows"


class Candidates:
    """Reads the model store, once for each newest version."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._read: dict[str, NewestCandidate] = {}

    def newest(self, use_case: str) -> NewestCandidate | None:
        """The newest trained version of ``use_case``, whether it is in charge or not; None before the first."""
        try:
            versions = self._store.versions(use_case)
        except OSError:
            return self._read.get(use_case)
        if not versions:
            return None
        known = self._read.get(use_case)
        if known is None or known.model_version != versions[-1]:
            self._read[use_case] = known = self._candidate(use_case, versions[-1])
        return known

    def why_no_champion(self, use_case: str) -> str:
        """One line: whether anything was trained, what the gate said, and what to do."""
        newest = self.newest(use_case)
        if newest is None:
            return NONE_TRAINED
        when = "" if newest.trained_ms is None else f", trained at {clock_time(newest.trained_ms)} UTC"
        if newest.outcome == "passed":
            return f"its candidate {newest.model_version}{when}, passes the gate and is not promoted; {newest.advice}"
        return f"the gate refused its candidate {newest.model_version}{when}: {newest.why}; {newest.advice}"

    def _candidate(self, use_case: str, version: str) -> NewestCandidate:
        try:
            return _judged(version, self._store.get(use_case, version).card)
        except (MliotError, OSError) as error:
            why = f"it cannot be read: {error}"
            return NewestCandidate(model_version=version, trained_ms=None, outcome="broken", why=why, advice="train again")


def _judged(version: str, card: ModelCard) -> NewestCandidate:
    where = f"Dagster tells more at {card.use_case}/candidate, check passes_gate"
    if card.verdict is None:
        why, outcome, advice = "it was trained before verdicts were kept", "broken", "train again"
    elif card.verdict.passed:
        why, outcome, advice = "it passes the gate", "passed", f"Dagster tells why at {card.use_case}/champion"
    else:
        why, outcome, advice = str(card.verdict.refusals[0]), card.verdict.outcome, f"{card.verdict.advice}; {where}"
    return NewestCandidate(model_version=version, trained_ms=card.created_ms, outcome=outcome, why=why, advice=advice)
