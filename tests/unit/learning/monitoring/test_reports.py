"""Which drift reports there are, and that no name leads anywhere else."""

from pathlib import Path

import pytest

from learning.monitoring.reports import Report, Reports


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    for use_case, times in {"pump": ("20251124-160000", "20251125-090000"), "fan": ("20251124-170000",)}.items():
        (folder / use_case / "reference").mkdir(parents=True)
        (folder / use_case / "reference" / "v1.parquet").touch()
        for time in times:
            (folder / use_case / f"drift-{time}.html").write_text(f"{use_case} {time}")
    (tmp_path / "drift-20251124-160000.html").touch()  # beside the folder
    (folder / "pump" / "drift-20251125-100000.new").touch()  # under way
    (folder / "pump" / "drift-99999999-999999.html").touch()
    (folder / "pump" / "other.html").touch()
    (folder / "pump" / "drift-20251126-000000.html").mkdir()
    return folder


def test_reports_are_listed_by_use_case_newest_first(folder: Path) -> None:
    kept = Reports(folder).kept()
    assert list(kept) == ["fan", "pump"]
    assert kept["pump"] == [
        Report("pump", "drift-20251125-090000.html", 1_764_061_200_000),
        Report("pump", "drift-20251124-160000.html", 1_764_000_000_000),
    ]
    assert kept["fan"][0].url_path == "/reports/fan/drift-20251124-170000.html"


def test_a_made_report_is_found_by_its_name(folder: Path) -> None:
    reports = Reports(folder)
    report, path = reports.make("pump", 1_764_100_000_999)
    path.write_text("page")
    assert reports.kept()["pump"][0] == report
    assert reports.path(report.use_case, report.name) == path


@pytest.mark.parametrize(
    ("use_case", "name"),
    [
        ("pump", "other.html"),
        ("pump", "../fan/drift-20251124-170000.html"),
        ("pump", "reference/v1.parquet"),
        ("pump", "drift-20251125-100000.new"),
        ("pump", "drift-20251126-000000.html"),
        ("pump", ""),
        ("..", "drift-20251124-160000.html"),
        (".", "drift-20251124-160000.html"),
        ("", "drift-20251124-160000.html"),
        ("pump/../fan", "drift-20251124-170000.html"),
        ("nobody", "drift-20251124-160000.html"),
    ],
)
def test_only_listed_reports_have_a_path(folder: Path, use_case: str, name: str) -> None:
    assert Reports(folder).path(use_case, name) is None


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert Reports(tmp_path / "none").kept() == {}
    assert Reports(tmp_path / "none").path("pump", "drift-20251124-160000.html") is None


def test_only_the_newest_are_kept_of_each_use_case(folder: Path) -> None:
    reports = Reports(folder)
    reports.drop_old("pump", kept=1)
    reports.drop_old("nobody")
    assert {use_case: [report.name for report in found] for use_case, found in reports.kept().items()} == {
        "fan": ["drift-20251124-170000.html"],
        "pump": ["drift-20251125-090000.html"],
    }
    assert (folder / "pump" / "other.html").exists()
