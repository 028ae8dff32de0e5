"""Runs dbt: the project compiled for the stream, built over history, documented.

Each run is a process of its own, because dbt keeps DuckDB's lock for as long as its process lives.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from mliot.clock import Deadline
from mliot.errors import UserError
from mliot.featuremodels import FeatureModels, load_feature_models
from mliot.measurements import load_measurements
from mliot.settings import Settings
from warehouse.access import Say, held_by, locked, opened, writing
from warehouse.columns import Entry, load_columns
from warehouse.prepare import PROJECT, declared_files, plain_features, prepare, working_project, write_project
from warehouse.raw import create_raw_tables

MAX_S = 900.0


class DbtFailed(UserError):
    """dbt ended with an error: what failed, why, and the log that says more."""


@dataclass(frozen=True)
class Node:
    """What dbt says of one model, test or source after a run. ``rows`` are those of a failing test."""

    name: str
    kind: str
    status: str
    seconds: float
    message: str


@dataclass(frozen=True)
class BuildReport:
    """What a build did, in dbt's order."""

    nodes: tuple[Node, ...]

    @property
    def warnings(self) -> tuple[Node, ...]:
        """The tests that only warn, and did."""
        return tuple(node for node in self.nodes if node.status == "warn")


def stream_manifest(settings: Settings) -> Path:
    """Where :func:`compile_for_stream` leaves the manifest."""
    return settings.dbt_path.resolve() / "stream" / "manifest.json"


def environment(settings: Settings) -> Mapping[str, str]:
    """The variables that dbt needs beside the process's own, for whoever runs it (this module, Dagster, a person)."""
    return {
        "MLIOT_WAREHOUSE": str(settings.warehouse_path.resolve()),
        "DBT_PROJECT_DIR": str(working_project(settings)),
        "DBT_PROFILES_DIR": str(working_project(settings)),
        "DBT_TARGET_PATH": str(settings.dbt_path.resolve() / "target"),
        "DBT_LOG_PATH": str(settings.dbt_path.resolve() / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def feature_models(settings: Settings) -> FeatureModels:
    """The feature models as declared now. Raises :class:`DbtFailed` or :class:`mliot.errors.DeclarationError`: what is wrong, and where."""
    return load_feature_models(compile_for_stream(settings))


def check_declarations(settings: Settings) -> None:
    """Reads every declaration as the parts of the stack will. Raises :class:`UserError` where one cannot be used."""
    ready(settings)


def ready(settings: Settings) -> dict[str, Any]:
    """Brings the working project up to date, and returns dbt's ``--vars`` for it.

    Compiles for the stream first where that is out of date, for the versions of the feature models.
    """
    models = feature_models(settings)
    prepare(settings, models, stream_project(settings))
    return {"measurements": ranges(settings), "feature_versions": dict(models.versions)}


def ranges(settings: Settings) -> dict[str, tuple[float, float]]:
    """The known measurements, each with the ends of its plausible range."""
    return {name: measurement.range for name, measurement in load_measurements(settings.measurements).items()}


def known_columns(settings: Settings) -> dict[str, dict[str, Entry]]:
    """What each feature model's columns are, units included."""
    models, measurements = feature_models(settings), load_measurements(settings.measurements)
    columns = load_columns(PROJECT / "columns.yaml").with_models(models, measurements)
    return {model.name: columns.columns(model.name, measurements) for model in models.features}


def stream_project(settings: Settings) -> Path:
    """The folder in which the stream's models are compiled: the project as written, models of the user's own, and what these leave out."""
    return stream_manifest(settings).parent / "project"


def compile_for_stream(settings: Settings) -> Path:
    """The manifest with the SQL that the stream runs, compiled anew only where the project, the measurements or dbt changed.

    Needs no warehouse file, and works while one is locked. Raises :class:`DbtFailed`, or :class:`mliot.errors.DeclarationError`.
    """
    manifest = stream_manifest(settings)
    stamp = manifest.parent / "compiled-from"
    files, measurements = declared_files(settings.features), ranges(settings)
    with locked(settings.dbt_path / "stream.lock"):
        digest = _digest(files, measurements)
        if manifest.exists() and stamp.exists() and stamp.read_text() == digest:
            return manifest
        compiled = _compile(settings, files, measurements)
        if plain := plain_features(load_feature_models(compiled)):
            compiled = _compile(settings, {**files, **plain}, measurements)
        load_feature_models(compiled)
        compiled.replace(manifest)
        stamp.write_text(digest)
    return manifest


def _compile(settings: Settings, files: Mapping[str, str], measurements: Mapping[str, tuple[float, float]]) -> Path:
    """dbt's manifest of the project ``files``, without what use cases add to it: that cannot stop the stream."""
    folder, project = stream_manifest(settings).parent, stream_project(settings)
    write_project(project, files)
    places = {
        "DBT_PROJECT_DIR": str(project),
        "DBT_PROFILES_DIR": str(project),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
    }
    given = {"measurements": measurements}
    _dbt(settings, "compile", "--target", "stream", "--full-refresh", "--no-partial-parse", places=places, given=given)
    return folder / "target" / "manifest.json"


def build(settings: Settings, select: str | None = None, *, say: Say | None = None) -> BuildReport:
    """Builds and tests the models, or those that dbt's ``select`` names, in the warehouse. Raises :class:`DbtFailed` where any failed.

    While somebody else has the warehouse file open it waits, and says so to ``say``.
    """
    given = ready(settings)
    with writing(settings, say=say) as deadline:
        _in_turn(settings, deadline, say, "build", *(["--select", select] if select else []), given=given)
    report = _report(Path(environment(settings)["DBT_TARGET_PATH"]))
    if not report.nodes:  # dbt itself only warns
        raise DbtFailed(f"dbt build: nothing is called {select!r}")
    return report


def docs(settings: Settings) -> Path:
    """Writes dbt's documentation site into one folder and returns its page."""
    given = ready(settings)
    with writing(settings) as deadline:
        _in_turn(settings, deadline, None, "docs", "generate", "--static", given=given)
    return Path(environment(settings)["DBT_TARGET_PATH"]) / "static_index.html"


def _in_turn(settings: Settings, deadline: Deadline, say: Say | None, *command: str, given: Mapping[str, Any]) -> None:
    """One run of dbt over the warehouse file; again where somebody opened that before dbt did. Raises :class:`DbtFailed`."""
    while True:
        with opened(settings, deadline, say) as con:
            create_raw_tables(con)
        try:
            _dbt(settings, *command, given=given)
        except DbtFailed as error:
            if held_by(str(error)) is None or deadline.passed():
                raise
        else:
            return


def _dbt(settings: Settings, *command: str, given: Mapping[str, Any], places: Mapping[str, str] | None = None) -> None:
    """One run of dbt. Raises :class:`DbtFailed`."""
    run_environment = {**os.environ, **environment(settings), **(places or {})}
    target = Path(run_environment["DBT_TARGET_PATH"])
    (target / "run_results.json").unlink(missing_ok=True)  # what stands there afterwards is this run's
    program = Path(sys.executable).with_name("dbt")
    arguments = [str(program), "--no-use-colors", *command, "--vars", msgspec.json.encode(given).decode()]
    ended = subprocess.run(
        arguments,
        cwd=run_environment["DBT_PROJECT_DIR"],
        env=run_environment,
        capture_output=True,
        text=True,
        timeout=MAX_S,
        check=False,
    )
    if ended.returncode != 0:
        raise DbtFailed(f"dbt {command[0]}: {_reason(target, ended.stdout + ended.stderr)}; see {run_environment['DBT_LOG_PATH']}/dbt.log")


def _reason(target: Path, output: str) -> str:
    """In one line what failed: the failed nodes where dbt got as far as running them, else the end of what it printed."""
    if (target / "run_results.json").exists():
        failed = [node for node in _report(target).nodes if node.status in ("error", "fail", "runtime error")]
        if failed:
            return "; ".join(f"{node.kind} {node.name}: {' '.join(node.message.split())}" for node in failed[:3])
    return " ".join(" ".join(output.splitlines()[-8:]).split())


def _report(target: Path) -> BuildReport:
    results = json.loads((target / "run_results.json").read_text())["results"]
    nodes = []
    for result in results:
        kind, _, name, *_ = result["unique_id"].split(".")
        nodes.append(Node(name, kind, result["status"], result["execution_time"], result.get("message") or ""))
    return BuildReport(tuple(nodes))


def _digest(files: Mapping[str, str], measurements: Mapping[str, tuple[float, float]]) -> str:
    """Changes with whatever the compiled SQL depends on."""
    digest = blake2b(digest_size=16)
    for package in ("dbt-core", "dbt-duckdb", "duckdb"):
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(msgspec.json.encode(measurements))
    for name, text in files.items():
        digest.update(f"\n{name}\n{text}".encode())
    return digest.hexdigest()
