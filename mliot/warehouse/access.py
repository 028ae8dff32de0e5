"""Who may open the warehouse file when: DuckDB lets one process write, or many read, so each takes a lock beside the file first."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import duckdb

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.settings import Settings

WAIT_S = 300.0
"""How long a writer or reader waits for its turn unless told otherwise."""
_POLL_S = 0.05


@contextmanager
def locked(path: Path, mode: Literal["read", "write"] = "write", *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Holds the lock file ``path``, shared to read, alone to write. It is the kernel's lock: it ends with the process, however that ends.

    Raises :class:`Transient` where it was not to be had within ``wait_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = Deadline.after(SystemClock(), wait_s)
    flags = (fcntl.LOCK_EX if mode == "write" else fcntl.LOCK_SH) | fcntl.LOCK_NB
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, flags)
                break
            except BlockingIOError as error:
                if deadline.passed():
                    raise Transient(f"{path}: another process holds it for {wait_s:g} s already") from error
                time.sleep(_POLL_S)
        yield


def warehouse_lock(settings: Settings) -> Path:
    """The lock that every process takes before it opens the warehouse file."""
    return settings.home / "warehouse.lock"


@contextmanager
def open_warehouse(
    settings: Settings, mode: Literal["read", "write"] = "read", *, wait_s: float = WAIT_S
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the warehouse file under its lock. Raises :class:`Transient`: locked for longer, or no file to read."""
    with locked(warehouse_lock(settings), mode, wait_s=wait_s):
        if mode == "read" and not settings.warehouse_path.exists():
            raise Transient(f"{settings.warehouse_path}: there is no warehouse yet; the first ingest makes it")
        with duckdb.connect(settings.warehouse_path, read_only=mode == "read") as con:
            yield con
