"""Settings of a whole stack that belongs to one module of tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mliot.settings import Settings

PORTS = tuple(name for name in Settings.model_fields if name.endswith("_port") and name != "metrics_port")


@pytest.fixture(scope="module")
def make_settings(open_folder: Path, free_ports: Callable[[int], list[int]]) -> Callable[..., Settings]:
    """Makes the settings of a stack with a home and ports of its own and nothing out of the environment; the others are as given."""

    def make(**given: object) -> Settings:
        *ports, metrics = sorted(free_ports(len(PORTS) + 1))  # the services take those that follow ``metrics``: none of the others
        return Settings(_env_file=None, home=open_folder / "home", metrics_port=metrics, **dict(zip(PORTS, ports, strict=True)), **given)

    return make
