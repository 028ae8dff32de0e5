"""Drift and live scores on their asset pages."""

from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa
import pytest

from assets import keys, monitoring
from learning.monitoring.drift import Drift
from learning.monitoring.livescore import LiveScore
from learning.monitoring.reference import keep_reference
from learning.store import ModelStore
from mliot.clock import ManualClock
from mliot.settings import Settings
from mliot.usecase import UseCase
from warehouse.access import publish_copy
from warehouse.raw import create_raw_tables


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(_env_file=None, home=tmp_path)
    with duckdb.connect(made.warehouse_path) as con:
        create_raw_tables(con)
    publish_copy(made)
    return made


def drift(settings: Settings, store: ModelStore, use_case: UseCase) -> dg.ExecuteInProcessResult:
    asset = next(each for each in monitoring.monitoring(use_case) if each.key == keys.drift(use_case.name))
    return dg.materialize([asset], resources={"settings": settings, "clock": ManualClock(), "store": store})


def promoted(settings: Settings, store: ModelStore, use_case: UseCase, save_constant_model: object, *, kept: bool = True) -> str:
    version = str(save_constant_model(store, use_case, 1.0))  # type: ignore[operator]
    store.move(use_case.name, "champion", version, who="test", why="test")
    if kept:
        table = pa.table({"water_flow_avg": np.arange(200.0), "label": np.arange(200.0)})
        keep_reference(settings.reports_path, store, use_case, version, table)
    return version


def test_without_champion_or_rows_the_page_says_so_and_nothing_alarms(
    settings: Settings, store: ModelStore, use_case: UseCase, save_constant_model: object
) -> None:
    said = []
    for step in ("no champion", "not kept", "kept"):
        if step != "no champion":
            version = promoted(settings, store, use_case, save_constant_model, kept=step == "kept")
        result = drift(settings, store, use_case)
        (materialization,) = result.asset_materializations_for_node("pump__drift")
        (check,) = result.get_asset_check_evaluations()
        assert check.passed
        said.append(materialization.metadata["report"].value)
    assert said == ["no champion yet", f"training rows of {version} were not kept", "not enough rows: 0 served, 50 are needed"]


def test_a_drift_is_a_warning_with_the_columns_the_farthest_first(
    settings: Settings, store: ModelStore, use_case: UseCase, save_constant_model: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = promoted(settings, store, use_case, save_constant_model)
    found = Drift(200, 300, {"humidity_avg": 0.5, "water_flow_avg": 2.0, "pressure_avg": 0.01}, silent=("luminosity_avg",))
    monkeypatch.setattr(monitoring, "measure_drift", lambda *_: found)
    result = drift(settings, store, use_case)
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == "75% of the columns drifted: water_flow_avg, humidity_avg, luminosity_avg (silent)"
    metadata = result.asset_materializations_for_node("pump__drift")[0].metadata
    assert metadata["champion"].value == version
    assert metadata["share_drifted"].value == 0.75
    assert str(metadata["report"].value).startswith(f"{settings.dashboard_address}/reports/pump/drift-2025")
    assert metadata["reports"].value == f"{settings.dashboard_address}/reports"
    assert str(metadata["columns"].value).splitlines()[2:] == [
        "| water_flow_avg | 2.000 | drifted |",
        "| humidity_avg | 0.500 | drifted |",
        "| pressure_avg | 0.010 |  |",
        "| luminosity_avg | | silent |",
    ]


def test_scores_stand_in_a_table(use_case: UseCase) -> None:
    table = monitoring.scores_table(use_case, [LiveScore("v2", False, 90, 0.5, 0.75), LiveScore("online-1", True, 80, 0.6, 0.75)])
    assert table.splitlines()[2:] == ["| v2 | in charge | 90 | 0.5 | 0.75 |", "| online-1 | shadow | 80 | 0.6 | 0.75 |"]
