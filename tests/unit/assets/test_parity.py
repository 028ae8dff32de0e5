"""What the parity checks say."""

from dataclasses import replace

import dagster as dg
import pytest

from assets import keys
from assets.parity import parity_keys, parity_result
from lineage.parity.result import Parity

FOUND = Parity(
    model="features_place_1m",
    version="v",
    checked_ms=2_000,
    since_ms=0,
    until_ms=1_000,
    rows=200,
    values=4_000,
    differ=0,
    late_rows=3,
    missing=2,
    missing_late=2,
    extra=0,
    largest=1e-12,
)


def result(found: Parity | None) -> dg.AssetCheckResult:
    (key,) = parity_keys(["features_place_1m"])
    return parity_result(dg.AssetCheckSpec(key.name, asset=key.asset_key), found)


def test_what_late_frames_explain_passes_and_is_counted() -> None:
    check = result(FOUND)
    assert (check.passed, check.asset_key, check.check_name) == (True, keys.raw("feature"), "features_place_1m_as_built")
    assert check.description == "4,000 values compared, 0 differ; 1.50% of 200 rows differ by late frames only"
    assert check.metadata["share_apart_by_late_frames"].value == 0.015


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"differ": 1, "example": "a b"}, "4,000 values compared, 1 differ; 1.50% of 200 rows differ by late frames only; first: a b"),
        ({"missing": 3, "late_rows": 0}, "4,000 values compared, 0 differ, 1 rows missing"),
        ({"extra": 4, "late_rows": 0}, "4,000 values compared, 0 differ, 4 rows that the batch does not know"),
    ],
)
def test_anything_else_fails(change: dict[str, int], says: str) -> None:
    check = result(replace(FOUND, **change))
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.description == says


def test_what_is_not_built_or_not_served_yet_is_no_fault() -> None:
    assert (result(None).passed, result(None).description) == (True, "not built yet")
    nothing = result(replace(FOUND, rows=0, values=0, late_rows=0, missing=0, missing_late=0))
    assert (nothing.passed, nothing.description) == (True, "nothing to compare yet")
