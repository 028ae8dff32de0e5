"""What Dagster shows and runs, as a whole: a committed picture of the graph, and a use case that brings its own part."""

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from mliot.settings import Settings
from mliot_dagster.definitions import compose

SNAPSHOT = Path(__file__).with_name("asset_graph.json")
UPDATE = "UPDATE_SNAPSHOTS"


def picture(definitions: dg.Definitions) -> dict[str, Any]:
    """Every asset with its group, dependencies, pool and checks; every job, schedule and sensor."""
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    checks = sorted(graph.asset_check_keys, key=lambda check: (check.asset_key.to_user_string(), check.name))
    return {
        "assets": {
            key.to_user_string(): {
                "group": graph.get(key).group_name,
                "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
                "pools": sorted(graph.get(key).pools or ()),
                "materializable": graph.get(key).is_materializable,
                "checks": [
                    check.name + (" (blocking)" if graph.get_check_spec(check).blocking else "")
                    for check in checks
                    if check.asset_key == key
                ],
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "jobs": {
            job.name: {
                "steps": sorted(node.name for node in job.nodes),
                "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
            }
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: f"{schedule.cron_schedule} -> {schedule.job_name}, {schedule.default_status.value}"
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: f"every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}" for sensor in repository.sensor_defs
        },
    }


def test_the_graph_is_the_committed_one(definitions: dg.Definitions) -> None:
    found = json.dumps(picture(definitions), indent=1, sort_keys=True) + "\n"
    if os.environ.get(UPDATE):
        SNAPSHOT.write_text(found, "utf-8")
    kept = SNAPSHOT.read_text("utf-8")
    difference = "".join(difflib.unified_diff(kept.splitlines(True), found.splitlines(True), "committed", "found", n=2))
    assert not difference, f"the asset graph changed; if that is meant, run this test once with {UPDATE}=1\n{difference}"


def test_a_declared_use_case_brings_its_assets_gate_job_and_schedule(
    definitions: dg.Definitions, home_settings: Settings, folder_of_use_cases: Path
) -> None:
    before = picture(definitions)
    after = picture(compose(home_settings.model_copy(update={"usecases": folder_of_use_cases})))
    added = {kind: sorted(after[kind].keys() - before[kind].keys()) for kind in after}
    assert added == {
        "assets": [f"humidity_soon/{name}" for name in ("candidate", "champion", "drift", "live_score", "training_set")],
        "jobs": ["retrain_humidity_soon"],
        "schedules": ["retrain_humidity_soon_schedule"],
        "sensors": [],
    }
    assert after["assets"]["humidity_soon/candidate"]["checks"] == ["passes_gate (blocking)"]
    assert after["assets"]["humidity_soon/training_set"]["deps"] == [
        "features/features_place_1m",
        "features/windows_place_1m",
        "raw/feature",
        "raw/label",
        "staging/frames",
    ]
    assert after["schedules"]["retrain_humidity_soon_schedule"] == "3 4 * * * -> retrain_humidity_soon, RUNNING"
    assert set(before["jobs"]["refresh"]["assets"]) < set(after["jobs"]["refresh"]["assets"])


def test_importing_the_definitions_does_nothing(tmp_path: Path) -> None:
    """No setting is read (this one is wrong) and no file written before Dagster asks for the definitions."""
    program = "import mliot_dagster, mliot_dagster.definitions"
    environment = {**os.environ, "MLIOT_HOME": str(tmp_path / "home"), "MLIOT_KAFKA_PORT": "no port"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())
