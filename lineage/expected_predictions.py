"""The answers that feature rows owe: one of the champion for each use case that serves the row, from the champion's first answer on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lineage.ledger import Finding
from mliot.messages import Feature, Prediction
from mliot.usecase import UseCase


@dataclass
class _Answers:
    """One use case: champions' answers by feature row, when the first was made, and what became of the rows it serves."""

    by_row: Counter[str] = field(default_factory=Counter)
    first_ms: int | None = None
    owed: int = 0
    passed: int = 0
    missing: list[str] = field(default_factory=list)


class PredictionsOwed:
    """Fed with all predictions first, then with the feature rows."""

    def __init__(self, use_cases: Mapping[str, UseCase]) -> None:
        self._use_cases = use_cases
        self._answers = {name: _Answers() for name in use_cases}
        self.about: dict[str, str] = {}
        """The feature row of every prediction, a shadow's too, by the prediction's id."""

    def prediction(self, prediction: Prediction) -> None:
        """Notes one prediction of the log."""
        self.about[prediction.prediction_id] = prediction.feature_id
        answers = self._answers.get(prediction.use_case)
        if answers is not None and not prediction.shadow:
            answers.by_row[prediction.feature_id] += 1
            answers.first_ms = min(prediction.made_ms, answers.first_ms or prediction.made_ms)

    def row(self, feature: Feature) -> None:
        """Notes one feature row that nobody refused and that inference has had time for."""
        for name, use_case in self._use_cases.items():
            if use_case.features != feature.model or not use_case.serves(feature.place_id):
                continue
            answers = self._answers[name]
            if feature.feature_id in answers.by_row:
                answers.owed += 1
            elif answers.first_ms is None or feature.made_ms < answers.first_ms:
                answers.passed += 1
            else:
                answers.owed += 1
                answers.missing.append(f"{feature.feature_id}+{name}")

    def findings(self) -> list[Finding]:
        """One finding a use case; a row with two champions' answers is named in ``twice``."""
        return [self._finding(name, answers) for name, answers in self._answers.items()]

    def _finding(self, name: str, answers: _Answers) -> Finding:
        twice = [f"{feature_id}+{name}" for feature_id, count in answers.by_row.items() if count > 1]
        note = f"{answers.passed} rows passed by before the first champion" if answers.passed else ""
        return Finding(f"predictions {name}", answers.owed, len(answers.by_row), answers.missing, twice, note=note)
