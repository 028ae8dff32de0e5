"""The promotion gate: from evidence about a candidate to a verdict with every reason. Pure.

What a loss is, the use case's task says (:mod:`learning.tasks`): less is better, 0 is perfect.
"""

from collections.abc import Iterator
from math import inf, isfinite, isnan
from typing import Literal

import msgspec

from mliot.usecase import Gate

GateOutcome = Literal["passed", "refused", "broken"]
"""Of a check or a candidate. ``refused``: it is sound, but no better than what is there, or not judged on enough rows yet; that is the
ordinary end of many trainings. ``broken``: something is wrong with it or with its data, and a person must look."""

_MAY_REFUSE = ("over_baseline", "over_champion", "holdout_rows")
"""The checks that a sound candidate may fail; every other one that fails is about something broken."""
_ADVICE = {
    "over_baseline": "other columns, candidates or a longer horizon are the answer, or a lower over_baseline in the use case's gate",
    "over_champion": "nothing needs to be done: the champion stays, and the next training is compared with it again",
    "holdout_rows": "nothing needs to be done: it is trained again once there are more labelled rows",
    "data_tests_failed": "look at the failed tests of its training set in Dagster, mend the data or the declaration, and train again",
    "onnx_parity": "declare other candidates: this one does not answer alike once it is converted",
    "p99_ms": "declare smaller candidates, or a higher p99_ms in the use case's gate",
    "size_mb": "declare smaller candidates, or a higher size_mb in the use case's gate",
}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured about a candidate. Every loss is over the same holdout rows.

    ``parity`` is how far the ONNX file differs from the native model (share of rows whose class differs, or the largest difference
    relative to the answers' size); ``p99_ms`` is for one row; ``failed_tests`` names the data tests that failed on its training table.
    """

    rows: int
    loss: float
    baseline_loss: float
    champion_loss: float | None
    parity: float
    p99_ms: float
    size_mb: float
    failed_tests: tuple[str, ...] = ()


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. ``value`` is None where there was nothing to compare with, or no number to compare."""

    name: str
    value: float | None
    limit: float
    sense: Literal["at least", "more than", "at most"]
    outcome: GateOutcome
    note: str = ""

    def __str__(self) -> str:
        missing = "nothing to compare with" if self.outcome == "passed" else "no number"
        shown = missing if self.value is None else f"{self.value:.4g}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}: {shown}, {self.sense} {self.limit:g}: {'passed' if self.outcome == 'passed' else 'refused'}{note}"


class Verdict(msgspec.Struct, frozen=True):
    """Every check in a fixed order; the candidate may take the alias only if all passed. It is made once, and kept on the model's card."""

    checks: tuple[Check, ...]

    @property
    def outcome(self) -> GateOutcome:
        outcomes = {check.outcome for check in self.checks}
        return "broken" if "broken" in outcomes or not outcomes else "refused" if "refused" in outcomes else "passed"

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def refusals(self) -> list[Check]:
        """The checks that did not pass, the broken ones first."""
        return sorted((check for check in self.checks if check.outcome != "passed"), key=lambda check: check.outcome)

    @property
    def reasons(self) -> list[str]:
        """One line a check: name, value, limit, outcome."""
        return [str(check) for check in self.checks]

    @property
    def advice(self) -> str:
        """What a person should do about the first refusal; nothing to be said where all passed."""
        return next((_ADVICE[check.name] for check in self.refusals), "")


def judge(gate: Gate, evidence: Evidence) -> Verdict:
    """The verdict of ``gate`` on ``evidence``."""
    return Verdict(tuple(_checks(gate, evidence)))


def _checks(gate: Gate, evidence: Evidence) -> Iterator[Check]:
    yield _check("holdout_rows", evidence.rows, "at least", gate.least_rows)
    yield _check("data_tests_failed", len(evidence.failed_tests), "at most", 0, ", ".join(evidence.failed_tests))
    note = f"loss {evidence.loss:.4g}, baseline's {evidence.baseline_loss:.4g}"
    yield _check("over_baseline", saved(evidence.loss, evidence.baseline_loss), "at least", gate.over_baseline, note)
    if evidence.champion_loss is None:
        limit, note = gate.over_champion, "no champion yet"
        yield Check(name="over_champion", value=None, limit=limit, sense="more than", outcome="passed", note=note)
    else:
        note = f"loss {evidence.loss:.4g}, champion's {evidence.champion_loss:.4g}"  # equal is not better: the champion stays
        yield _check("over_champion", saved(evidence.loss, evidence.champion_loss), "more than", gate.over_champion, note)
    yield _check("onnx_parity", evidence.parity, "at most", gate.onnx_parity)
    yield _check("p99_ms", evidence.p99_ms, "at most", gate.p99_ms)
    yield _check("size_mb", evidence.size_mb, "at most", gate.size_mb)


def _check(name: str, value: float, sense: Literal["at least", "more than", "at most"], limit: float, note: str = "") -> Check:
    """A value that is not a number never passes: what was not measured proves nothing."""
    passed = value >= limit if sense == "at least" else value > limit if sense == "more than" else value <= limit
    outcome: GateOutcome = "passed" if passed else "refused" if name in _MAY_REFUSE and not isnan(value) else "broken"
    return Check(name=name, value=value if isfinite(value) else None, limit=limit, sense=sense, outcome=outcome, note=note)


def saved(loss: float, reference: float) -> float:
    """The fraction of ``reference``'s loss that is saved: 1 is all, below 0 is worse; of a reference without loss 0 or minus infinity."""
    if reference == 0:
        return 0.0 if loss == 0 else -inf
    return (reference - loss) / reference
