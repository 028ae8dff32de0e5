"""A full disk: the file system of a part is made as small as what lies on it. (The mount is in tests/faults/site.py.)"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.stack import until
from tests.faults.site import DISK, Site

SHRUNK_S = 10.0


@contextmanager
def full(site: Site, part: str) -> Iterator[list[str]]:
    """Nothing more can be written to the disk of ``part`` while the block runs."""
    path = site.disk(part)
    until(f"the disk of {part} is full", lambda: _resized(path, str(_used(path))), within_s=SHRUNK_S)
    try:
        yield []
    finally:
        assert _resized(path, DISK), f"{path} cannot be made {DISK} again"


def _used(path: Path) -> int:
    """Bytes."""
    state = os.statvfs(path)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _resized(path: Path, size: str) -> bool:
    """False where more was written meanwhile."""
    return subprocess.run(["mount", "-o", f"remount,size={size}", str(path)], check=False).returncode == 0
