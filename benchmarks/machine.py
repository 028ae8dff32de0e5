"""The machine and the versions that figures were measured with."""

import os
import platform
from importlib.metadata import version

import psutil

PACKAGES = ("confluent-kafka", "paho-mqtt", "duckdb", "dlt", "bentoml", "onnxruntime", "scikit-learn", "river", "dagster")


def described() -> dict[str, str]:
    """What matters to whoever compares: cores, memory, system, Python and the packages on the path."""
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "python": platform.python_version(),
    } | {name: version(name) for name in PACKAGES}
