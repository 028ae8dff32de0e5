"""Imports point one way, and importing anything does nothing."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

PACKAGES = ("mliot", "devices", "streaming", "serving", "dashboard", "assets", "mliot_dagster")
ALLOWED = {
    "mliot": set(),
    "devices": {"mliot"},
    "streaming": {"mliot"},
    "serving": {"mliot"},
    "dashboard": {"mliot"},
    "assets": {"mliot", "mliot_dagster.resources"},
    "mliot_dagster": {"mliot", "assets"},
}
DAGSTER_MAY_BE_IMPORTED_BY = {"assets", "mliot_dagster"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_imports_point_one_way(graph) -> None:
    wrong = []
    for importer in graph.modules:
        package = importer.partition(".")[0]
        if package not in ALLOWED:
            continue
        for imported in graph.find_modules_directly_imported_by(importer):
            root = imported.partition(".")[0]
            fine = root == package or root not in PACKAGES or root in ALLOWED[package] or imported in ALLOWED[package]
            if not fine:
                wrong.append(f"{importer} -> {imported}")
    assert sorted(wrong) == []


def test_only_assets_and_the_code_location_know_dagster(graph) -> None:
    dagster = [module for module in graph.modules if module.partition(".")[0].startswith("dagster")]
    assert dagster, "dagster is imported somewhere, or this test looks at nothing"
    importers = {importer.partition(".")[0] for module in dagster for importer in graph.find_modules_that_directly_import(module)}
    assert importers <= DAGSTER_MAY_BE_IMPORTED_BY


def test_importing_everything_does_nothing(tmp_path: Path) -> None:
    """No thread, no file in the working folder, no connection: in a fresh process with sockets forbidden."""
    script = """
import importlib, pkgutil, socket, sys, threading
def forbidden(*_, **__): raise AssertionError("a socket was opened at import")
socket.socket.connect = forbidden
for package in sys.argv[1:]:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
own = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
assert not own, own
"""
    packages = [package for package in PACKAGES if package not in ("mliot_dagster",)]
    done = subprocess.run([sys.executable, "-c", script, *packages], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []
