"""Files that only their owner may read: passwords that the stack makes up, and configuration that holds one."""

import os
import secrets
from pathlib import Path


def made_once(path: Path) -> str:
    """The password in ``path``; made up where there is none yet."""
    if not path.exists():
        write(path, secrets.token_urlsafe(24))
    return path.read_text("utf-8").strip()


def write(path: Path, text: str) -> None:
    """``path`` with ``text``, whole or not at all, never readable by anyone else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
