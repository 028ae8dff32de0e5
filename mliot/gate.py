"""The promotion gate: from evidence about a candidate to a verdict with every reason. Pure.

A loss is 1 - macro F1 for classes and the mean absolute error for numbers: less is better, 0 is perfect.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isnan
from typing import Literal

import msgspec

from mliot.usecase import Gate

COMPARISONS = ("over_baseline", "over_champion")
"""The checks by which a sound candidate may simply turn out not to be better; every other one refuses something that is broken."""


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


@dataclass(frozen=True)
class Check:
    """One comparison. ``value`` is None where there was nothing to compare with, which passes."""

    name: str
    value: float | None
    limit: float
    sense: Literal["at least", "more than", "at most"]
    note: str = ""

    @property
    def passed(self) -> bool:
        """False too for a value that is not a number: what was not measured proves nothing."""
        if self.value is None:
            return True
        match self.sense:
            case "at least":
                return self.value >= self.limit
            case "more than":
                return self.value > self.limit
            case "at most":
                return self.value <= self.limit

    def __str__(self) -> str:
        shown = "nothing to compare with" if self.value is None else f"{self.value:.4g}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}: {shown}, {self.sense} {self.limit:g}: {'passed' if self.passed else 'refused'}{note}"


@dataclass(frozen=True)
class Verdict:
    """Every check in a fixed order; the candidate may take the alias only if all passed."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def only_not_better(self) -> bool:
        """True where nothing refuses but a measured comparison with baseline or champion: an ordinary outcome, nothing is broken."""
        refused = [check for check in self.checks if not check.passed]
        return bool(refused) and all(check.name in COMPARISONS and check.value is not None and not isnan(check.value) for check in refused)

    @property
    def reasons(self) -> list[str]:
        """One line a check: name, value, limit, outcome."""
        return [str(check) for check in self.checks]


def judge(gate: Gate, evidence: Evidence) -> Verdict:
    """The verdict of ``gate`` on ``evidence``."""
    return Verdict(tuple(_checks(gate, evidence)))


def _checks(gate: Gate, evidence: Evidence) -> Iterator[Check]:
    yield Check("holdout_rows", evidence.rows, gate.least_rows, "at least")
    yield Check("data_tests_failed", len(evidence.failed_tests), 0, "at most", ", ".join(evidence.failed_tests))
    yield Check(
        "over_baseline",
        saved(evidence.loss, evidence.baseline_loss),
        gate.over_baseline,
        "at least",
        f"loss {evidence.loss:.4g}, baseline's {evidence.baseline_loss:.4g}",
    )
    if evidence.champion_loss is None:
        yield Check("over_champion", None, gate.over_champion, "more than", "no champion yet")
    else:
        yield Check(
            "over_champion",
            saved(evidence.loss, evidence.champion_loss),
            gate.over_champion,
            "more than",  # equal is not better: the champion stays
            f"loss {evidence.loss:.4g}, champion's {evidence.champion_loss:.4g}",
        )
    yield Check("onnx_parity", evidence.parity, gate.onnx_parity, "at most")
    yield Check("p99_ms", evidence.p99_ms, gate.p99_ms, "at most")
    yield Check("size_mb", evidence.size_mb, gate.size_mb, "at most")


def saved(loss: float, reference: float) -> float:
    """The fraction of ``reference``'s loss that is saved: 1 is all, below 0 is worse; of a reference without loss 0 or minus infinity."""
    if reference == 0:
        return 0.0 if loss == 0 else -inf
    return (reference - loss) / reference
