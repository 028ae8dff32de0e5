"""Settings of a whole stack that belongs to one module of tests."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mliot.settings import Settings
from tests.e2e.stack import settings_of_its_own


@pytest.fixture(scope="module")
def make_settings(open_folder: Path) -> Callable[..., Settings]:
    """Makes the settings of a stack with a home and ports of its own and nothing out of the environment; the others are as given."""
    return partial(settings_of_its_own, open_folder / "home")
