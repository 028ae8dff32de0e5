"""dbt as the assets run it: over the warehouse's working project, one run at a time."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import msgspec
from dagster_dbt import DbtCliInvocation, DbtCliResource
from packaging.version import Version

from mliot.settings import Settings
from warehouse.dbt import environment, ready
from warehouse.prepare import working_project


class Dbt(DbtCliResource):
    """dbt over the warehouse's working project, with the variables and the environment that MLIoT's project needs.

    Its runs share one target folder, whose partial parse spares each the reading of the project; the warehouse's lock keeps them apart.
    """

    variables: dict[str, Any]
    environment: dict[str, str]

    @property
    def target_path(self) -> Path:
        return Path(self.environment["DBT_TARGET_PATH"])

    def cli(self, args: Sequence[str], **options: Any) -> DbtCliInvocation:
        """As :meth:`DbtCliResource.cli`, whose options it takes."""
        (self.target_path / "run_results.json").unlink(missing_ok=True)  # what stands there afterwards is this run's
        with _environment(self.environment):
            given = ("--vars", msgspec.json.encode(self.variables).decode())
            return super().cli([*args, *given], target_path=self.target_path, **options)

    @property
    def _cli_version(self) -> Version:
        """The installed dbt's: asking the program for it, as the base class does, takes several seconds at each use."""
        return Version(installed("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        """No adapter in this process: it only serves to ask for row counts, takes seconds, and would hold DuckDB's lock."""


def make_dbt(settings: Settings) -> Dbt:
    """dbt over the working project, which is brought up to date first. Raises :class:`DeclarationError` where that cannot be."""
    given_variables = ready(settings)
    folder = working_project(settings)
    given = dict(environment(settings))
    given["DBT_TARGET_PATH"] = str(settings.dbt_path.resolve() / "dagster")
    program = str(Path(sys.executable).with_name("dbt"))
    return Dbt(dbt_executable=program, project_dir=str(folder), profiles_dir=str(folder), variables=given_variables, environment=given)


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    """``given`` in this process's environment while the block runs: dagster-dbt hands on that and nothing else."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
