"""Dagster's processes: a code server, a web server and a daemon, with their instance in PostgreSQL."""

import sys
from pathlib import Path

import yaml

from mliot.settings import HOST, Settings

DEFINITIONS = "mliot_dagster.definitions"
STORAGE_VARIABLE = "MLIOT_DAGSTER_STORAGE"
RUN_START_S = 300
"""Seconds that a run's process may take to load the definitions on a busy machine. After Dagster's 60 the daemon would drop the run as
failed, while its process goes on to start."""


def folder(settings: Settings) -> Path:
    """``DAGSTER_HOME``."""
    return settings.home.absolute() / "dagster"


def instance(settings: Settings) -> str:
    """The text of ``dagster.yaml``: storage in PostgreSQL, logs and artifacts in the home folder, few runs at once, no telemetry."""
    home = folder(settings)
    return yaml.safe_dump(
        {
            "storage": {"postgres": {"postgres_url": {"env": STORAGE_VARIABLE}}},
            "local_artifact_storage": {
                "module": "dagster._core.storage.root",
                "class": "LocalArtifactStorage",
                "config": {"base_dir": str(home)},
            },
            "compute_logs": {
                "module": "dagster._core.storage.local_compute_log_manager",
                "class": "LocalComputeLogManager",
                "config": {"base_dir": str(home / "logs")},
            },
            "concurrency": {"runs": {"max_concurrent_runs": 2}, "pools": {"default_limit": 1}},
            "run_monitoring": {"enabled": True, "start_timeout_seconds": RUN_START_S},
            "telemetry": {"enabled": False},
            "nux": {"enabled": False},
        },
        sort_keys=False,
    )


def workspace(settings: Settings) -> str:
    """The text of ``workspace.yaml``: the one code location, served by the code server."""
    location = {"host": HOST, "port": settings.dagster_code_port, "location_name": "mliot"}
    return yaml.safe_dump({"load_from": [{"grpc_server": location}]}, sort_keys=False)


def environment(settings: Settings) -> dict[str, str]:
    """What Dagster's processes need beside the settings. Its storage speaks psycopg2 only, which the address must name."""
    _, _, rest = settings.postgres_address.partition("://")
    return {
        "DAGSTER_HOME": str(folder(settings)),
        STORAGE_VARIABLE: f"postgresql+psycopg2://{rest}",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_GRPC_TIMEOUT_SECONDS": str(RUN_START_S),
    }


def prepare(settings: Settings) -> None:
    folder(settings).mkdir(parents=True, exist_ok=True)
    (folder(settings) / "dagster.yaml").write_text(instance(settings), "utf-8")
    workspace_path(settings).write_text(workspace(settings), "utf-8")


def workspace_path(settings: Settings) -> Path:
    return folder(settings) / "workspace.yaml"


def code_server(settings: Settings) -> tuple[str, ...]:
    where = ("-h", HOST, "-p", str(settings.dagster_code_port))
    # `dagster code-server` would be a second process that loads everything again, for a reload button
    return (sys.executable, "-m", "dagster", "api", "grpc", "-m", DEFINITIONS, *where)


def web_server(_: Settings) -> tuple[str, ...]:
    """Ours around Dagster's: see :mod:`mliot_dagster.web`."""
    return (sys.executable, "-m", "mliot_dagster.web")


def daemon(settings: Settings) -> tuple[str, ...]:
    return (sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace_path(settings)))
