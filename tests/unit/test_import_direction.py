"""Imports point one way, and importing anything does nothing."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

MAY_IMPORT = {
    "mliot": set(),
    "devices": {"mliot"},
    "learning": {"mliot"},
    "usecases": {"mliot", "learning"},
    "warehouse": {"mliot", "usecases"},
    "streaming": {"mliot", "learning", "usecases", "warehouse"},
    "serving": {"mliot", "learning", "usecases", "warehouse"},
    "lineage": {"mliot", "learning", "usecases", "warehouse", "streaming"},
    "dashboard": {"mliot", "learning", "usecases", "warehouse", "lineage"},
    "stack": {"mliot", "usecases", "warehouse", "streaming", "lineage"},
    "assets": {"mliot", "warehouse", "learning", "lineage"},
    "mliot_dagster": {"mliot", "learning", "usecases", "warehouse", "stack", "assets"},
}
"""The whole order of the packages: each names only ones that stand above it."""
PACKAGES = tuple(MAY_IMPORT)
DAGSTER_MAY_BE_IMPORTED_BY = {"assets", "mliot_dagster"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_the_order_has_no_arrow_back() -> None:
    for at, (package, allowed) in enumerate(MAY_IMPORT.items()):
        assert allowed <= set(PACKAGES[:at]), package


def test_imports_point_one_way(graph) -> None:
    assert sorted(f"{a} -> {b}" for a, b in imports(graph) if root(a) != root(b) and root(b) not in MAY_IMPORT[root(a)]) == []


def test_every_arrow_of_the_order_is_used(graph) -> None:
    used = {(root(a), root(b)) for a, b in imports(graph)}
    assert [(a, b) for a, allowed in MAY_IMPORT.items() for b in sorted(allowed) if (a, b) not in used] == []


def test_no_two_folders_import_each_other_even_by_way_of_others(graph) -> None:
    beside = defaultdict(set)
    for a, b in imports(graph):
        if folder(graph, a) != folder(graph, b):
            beside[folder(graph, a)].add(folder(graph, b))
    TopologicalSorter(beside).prepare()  # a cycle raises, and is named


def imports(graph) -> Iterator[tuple[str, str]]:
    for importer in graph.modules:
        if root(importer) in MAY_IMPORT:
            for imported in graph.find_modules_directly_imported_by(importer):
                if root(imported) in MAY_IMPORT:
                    yield importer, imported


def root(module: str) -> str:
    return module.partition(".")[0]


def folder(graph, module: str) -> str:
    return module if graph.find_children(module) else module.rpartition(".")[0]


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
