"""What dbt knows of its project over history, for Dagster to make assets of; read anew only where something it depends on has changed."""

from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import msgspec

from assets.dbt import Dbt
from mliot.settings import Settings
from warehouse.access import locked


def batch_manifest(settings: Settings, dbt: Dbt) -> Path:
    """The manifest of the working project. Takes some seconds the first time and after a change, else reads a few small files."""
    folder = settings.dbt_path.resolve() / "batch"
    manifest, stamp = folder / "manifest.json", folder / "parsed-from"
    with locked(settings.dbt_path / "batch.lock"):
        digest = _digest(Path(dbt.project_dir), dbt)
        if manifest.exists() and stamp.exists() and stamp.read_text("utf-8") == digest:
            return manifest
        parsed = dbt.cli(["parse"]).wait()
        folder.mkdir(parents=True, exist_ok=True)
        (parsed.target_path / "manifest.json").replace(manifest)
        stamp.write_text(digest, "utf-8")
    return manifest


def _digest(project: Path, dbt: Dbt) -> str:
    """Changes with whatever the manifest depends on."""
    digest = blake2b(f"dbt-core {version('dbt-core')}\n".encode(), digest_size=16)
    digest.update(msgspec.json.encode(dbt.variables))
    for path in sorted(path for path in project.rglob("*") if path.suffix in (".sql", ".yml")):
        digest.update(f"\n{path.relative_to(project)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
