"""When a value of then and one of now are equal, and how far."""

import math

import msgspec
import pytest

from lineage.decide_again.compare import Tally, judge
from mliot.messages import Feature, Prediction


@pytest.mark.parametrize(
    ("name", "then", "now", "verdict"),
    [
        ("temperature_avg", 20.5, 20.5, "same"),
        ("temperature_avg", 20.5, math.nextafter(20.5, 21), "close"),
        ("temperature_avg", 20.5, 20.5 * (1 + 2e-6), "differs"),
        ("slope", 1e-12, 1.1e-12, "differs"),
        ("probability", 0.5, 0.500001, "close"),
        ("probability", 0.5, 0.500003, "differs"),
        ("probability", 0.5, None, "differs"),
        ("low", None, None, "same"),
        ("frames", 12, 13, "differs"),
        ("frames", 1_000_000_000, 1_000_000_001, "differs"),
        ("model_version", "online-10", "online-11", "differs"),
        ("value", 2.0, 1.0, "differs"),
    ],
)
def test_judge(name: str, then, now, verdict: str) -> None:
    assert judge(name, then, now) == verdict


def row(**values: float) -> Feature:
    return Feature(
        feature_id="place_1m:room-1@60000", model="features_place_1m", version="f1", grain="place_1m", key="room-1", place_id="room-1",
        start_ms=60_000, end_ms=120_000, frames=2, first="stream-frame-0-1", last="stream-frame-0-2", made_ms=1, values=values,
    )  # fmt: skip


@pytest.mark.parametrize("keep", [False, True])
def test_every_value_counts_and_what_is_not_the_same_is_kept(keep: bool) -> None:
    tally = Tally(keep)
    tally.add("feature row", row(a=1.0, b=2.0), row(a=1.0, b=2.0))
    same = tally.compared
    assert tally.to_the_bit
    assert bool(tally.values) is keep
    tally.add("feature row", row(a=1.0, b=2.0, gone=3.0), msgspec.structs.replace(row(a=1.0, b=2.5, new=4.0), frames=3, made_ms=9))
    assert tally.compared == same + same + 2
    assert {value.name for value in tally.differ} == {"b", "gone", "new", "frames"}


def test_when_a_decision_was_made_is_no_decision() -> None:
    then = Prediction.of(row(), use_case="u", horizon_ms=0, model_version="v", made_ms=5, value=1.0)
    tally = Tally()
    tally.add("prediction", then, msgspec.structs.replace(then, made_ms=6))
    assert tally.to_the_bit
