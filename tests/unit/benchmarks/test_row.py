"""Ratios are of the same round, sides are measured in turn, and the goal is judged the right way round."""

from pathlib import Path

import pytest

from benchmarks.results import Kept, keep, page, read
from benchmarks.row import Measured, Row, Side, measure, reached


def measured(ours: list[float], peer: list[float], goal: float, better: str = "more") -> tuple[Measured, list[str]]:
    said: list[str] = []
    left = {"ours": iter(ours), "peer": iter(peer)}
    sides = {name: Side(name, lambda name=name: next(left[name])) for name in left}
    row = Row("row", "records/s", sides["ours"], (sides["peer"],), {"peer": goal}, better)
    return measure(row, len(ours), said=said.append), said


def test_the_ratio_is_that_of_each_round() -> None:
    row, said = measured([100, 10, 40], [50, 20, 40], 1)
    (against,) = row.against
    assert (against.ratio.least, against.ratio.middle, against.ratio.most) == (0.5, 1, 2)
    assert (row.figures.least, row.figures.middle, row.figures.most) == (10, 40, 100)
    assert [line.split(": ")[1].split()[0] for line in said] == ["ours", "peer", "peer", "ours", "ours", "peer"]


@pytest.mark.parametrize(("better", "goal", "met"), [("more", 1.9, True), ("more", 2.1, False), ("less", 2.1, True), ("less", 1.9, False)])
def test_a_goal_is_a_floor_or_a_ceiling(better: str, goal: float, met: bool) -> None:
    row, _ = measured([20], [10], goal, better)
    assert reached(row, row.against[0]) is met


def test_a_row_measured_again_takes_its_elders_place_and_the_page_has_both(tmp_path: Path) -> None:
    first, _ = measured([20], [10], 1)
    again, _ = measured([5], [10], 1)
    keep(tmp_path / "results.json", {"row": Kept(first, "2026-01-01", {"cores": "2"}), "other": Kept(first, "2026-01-01", {"cores": "2"})})
    kept = keep(tmp_path / "results.json", {"row": Kept(again, "2026-01-02", {"cores": "4"})})
    assert read(tmp_path / "results.json") == kept
    text = page(kept, {"a.png": "A picture"})
    assert "| 0.5 (0.5-0.5) | ≥ 1 | **no** | 1 |" in text
    assert "| 2 (2-2) | ≥ 1 | yes | 1 |" in text
    assert "images/a.png" in text
    assert "2026-01-02: cores 4" in text


def test_a_row_without_a_peer_has_its_figure_on_the_page_and_a_note_may_be_told_afterwards() -> None:
    figures = iter([10.0, 30.0])
    told: list[str] = []
    row = Row("alone", "frames/s", Side("ours", lambda: next(figures)), (), {}, note=lambda: f"after {told[-1]}")
    found = measure(row, 2, said=told.append)
    text = page({"alone": Kept(found, "2026-01-01", {})}, {})
    assert "| alone | 20 (10-30) frames/s | - |" in text
    assert "after alone, round 2 of 2" in text
