"""The gate: what passes, what is refused, and that no amount of worsening turns a refusal into a pass."""

from math import inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.gate import Evidence, Verdict, judge, saved
from mliot.usecase import Gate

GOOD = Evidence(rows=500, loss=0.2, baseline_loss=0.4, champion_loss=0.25, parity=0.0, p99_ms=1.0, size_mb=2.0)
GATE = Gate(over_baseline=0.02, over_champion=0.0, onnx_parity=1e-4, p99_ms=20, size_mb=64, least_rows=100)

losses = st.floats(0, 10, allow_nan=False)
evidences = st.builds(
    Evidence,
    rows=st.integers(0, 1000),
    loss=losses,
    baseline_loss=losses,
    champion_loss=st.none() | losses,
    parity=st.floats(0, 1e-3),
    p99_ms=st.floats(0, 40),
    size_mb=st.floats(0, 128),
    failed_tests=st.sampled_from([(), ("a",), ("a", "b")]),
)


def changed(evidence: Evidence, **values: object) -> Evidence:
    return msgspec.structs.replace(evidence, **values)


def refused(evidence: Evidence, gate: Gate = GATE) -> list[str]:
    return [check.name for check in judge(gate, evidence).checks if check.outcome != "passed"]


def test_good_candidate_passes_with_every_reason() -> None:
    verdict = judge(GATE, GOOD)
    assert verdict.passed
    assert [check.name for check in verdict.checks] == [
        "holdout_rows",
        "data_tests_failed",
        "over_baseline",
        "over_champion",
        "onnx_parity",
        "p99_ms",
        "size_mb",
    ]
    assert verdict.reasons[2] == "over_baseline: 0.5, at least 0.02: passed (loss 0.2, baseline's 0.4)"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rows": 99}, "holdout_rows"),
        ({"failed_tests": ("label is null",)}, "data_tests_failed"),
        ({"baseline_loss": 0.2}, "over_baseline"),
        ({"champion_loss": 0.19}, "over_champion"),
        ({"parity": 0.001}, "onnx_parity"),
        ({"p99_ms": 20.1}, "p99_ms"),
        ({"size_mb": 65.0}, "size_mb"),
    ],
)
def test_each_check_alone_refuses(change: dict[str, object], name: str) -> None:
    assert refused(changed(GOOD, **change)) == [name]


def test_without_champion_only_the_baseline_counts() -> None:
    assert refused(changed(GOOD, champion_loss=None)) == []
    assert refused(changed(GOOD, champion_loss=None, baseline_loss=0.1)) == ["over_baseline"]


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_equal_is_not_better_and_exactly_the_margin_is_not_more(margin: float) -> None:
    gate = Gate(over_champion=margin)
    just = changed(GOOD, champion_loss=GOOD.loss / (1 - margin))
    assert refused(just, gate) == ["over_champion"]
    assert refused(changed(just, loss=just.loss * 0.999), gate) == []
    assert judge(GATE, changed(GOOD, champion_loss=GOOD.loss)).reasons[3] == (
        "over_champion: 0, more than 0: refused (loss 0.2, champion's 0.2)"
    )


def test_two_models_without_any_loss_are_equal() -> None:
    assert refused(changed(GOOD, loss=0.0, champion_loss=0.0)) == ["over_champion"]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "passed"),
        ({"champion_loss": 0.2}, "refused"),
        ({"champion_loss": 0.0}, "refused"),
        ({"baseline_loss": 0.1}, "refused"),
        ({"baseline_loss": 0.1, "champion_loss": None}, "refused"),
        ({"baseline_loss": 0.1, "champion_loss": 0.1}, "refused"),
        ({"rows": 3}, "refused"),
        ({"champion_loss": 0.2, "parity": 0.1}, "broken"),
        ({"champion_loss": 0.2, "failed_tests": ("a",)}, "broken"),
        ({"champion_loss": nan}, "broken"),
        ({"loss": nan}, "broken"),
    ],
)
def test_a_sound_candidate_is_refused_and_another_one_is_broken(change: dict[str, object], outcome: str) -> None:
    verdict = judge(GATE, changed(GOOD, **change))
    assert verdict.outcome == outcome
    assert bool(verdict.refusals) == bool(verdict.advice) == (outcome != "passed")
    if outcome == "broken":
        assert verdict.refusals[0].outcome == "broken", "what is broken is named first"


@given(evidences)
def test_a_verdict_is_kept_as_it_is(evidence: Evidence) -> None:
    verdict = judge(GATE, evidence)
    kept = msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict)
    assert kept == verdict
    assert [str(check) for check in kept.checks] == verdict.reasons


def test_what_cannot_be_put_into_a_number_is_still_refused_once_it_was_kept() -> None:
    """JSON knows no infinity: a comparison with a champion without any loss must not read as one that had nothing to compare with."""
    verdict = judge(GATE, changed(GOOD, champion_loss=0.0))
    kept = msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict)
    assert not kept.passed
    assert "inf" not in kept.reasons[3]


@pytest.mark.parametrize("field", ["loss", "baseline_loss", "champion_loss", "parity", "p99_ms", "size_mb"])
def test_what_is_not_a_number_is_refused(field: str) -> None:
    assert not judge(GATE, changed(GOOD, **{field: nan})).passed


def test_a_failed_data_test_is_named() -> None:
    assert "label is null" in judge(GATE, changed(GOOD, failed_tests=("label is null",))).reasons[1]


@pytest.mark.parametrize(("loss", "reference", "expected"), [(0.1, 0.2, 0.5), (0.2, 0.2, 0), (0.4, 0.2, -1), (0, 0, 0), (0.1, 0, -inf)])
def test_saved(loss: float, reference: float, expected: float) -> None:
    assert saved(loss, reference) == pytest.approx(expected)


@given(evidences, st.sampled_from(["loss", "parity", "p99_ms", "size_mb"]), st.floats(0, 100))
def test_getting_worse_never_turns_a_refusal_into_a_pass(evidence: Evidence, field: str, more: float) -> None:
    worse = changed(evidence, **{field: getattr(evidence, field) + more})
    assert judge(GATE, evidence).passed or not judge(GATE, worse).passed


@given(evidences, st.integers(0, 1000))
def test_fewer_rows_or_more_failed_tests_never_help(evidence: Evidence, fewer: int) -> None:
    poorer = changed(evidence, rows=max(0, evidence.rows - fewer), failed_tests=(*evidence.failed_tests, "one more"))
    assert not judge(GATE, poorer).passed


@given(evidences, st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_gate_passes_no_more(evidence: Evidence, baseline: float, champion: float) -> None:
    stricter = GATE.model_copy(update={"over_baseline": GATE.over_baseline + baseline, "over_champion": GATE.over_champion + champion})
    assert judge(GATE, evidence).passed or not judge(stricter, evidence).passed


@given(evidences)
def test_verdict_is_the_conjunction_of_its_checks(evidence: Evidence) -> None:
    verdict = judge(GATE, evidence)
    assert verdict.passed == all("refused" not in reason.rsplit(" (", 1)[0] for reason in verdict.reasons)
