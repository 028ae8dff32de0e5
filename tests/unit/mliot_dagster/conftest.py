"""The real definitions, composed once for the tests that read them."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from mliot.settings import Settings
from mliot_dagster.definitions import compose

HUMIDITY = """
from datetime import timedelta
from mliot.usecase import Label, Linear, UseCase
HUMIDITY = UseCase(
    name="humidity_soon",
    title="Humidity in ten minutes",
    kind="regression",
    unit="%RH",
    features="features_place_1m",
    columns=("humidity_avg", "temperature_avg"),
    label=Label(measurement="humidity", statistic="avg", horizon=timedelta(minutes=10)),
    candidates=(Linear(),),
    places="room-.*",
    retrain_cron="3 4 * * *",
)
"""


@pytest.fixture(scope="session")
def home_settings(tmp_path_factory: pytest.TempPathFactory, compiled_settings: Callable[..., Settings]) -> Settings:
    """Settings with a home of their own, in which dbt parses once for all of these tests."""
    return compiled_settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def definitions(home_settings: Settings) -> dg.Definitions:
    """What Dagster is given for the built-in use cases. Nothing runs and nothing is connected to."""
    return compose(home_settings)


@pytest.fixture
def folder_of_use_cases(tmp_path: Path) -> Path:
    """A folder for ``MLIOT_USECASES`` with one use case more."""
    (tmp_path / "usecases").mkdir()
    (tmp_path / "usecases" / "humidity.py").write_text(HUMIDITY, "utf-8")
    return tmp_path / "usecases"
