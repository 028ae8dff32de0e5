"""Who may open the warehouse when.

DuckDB lets one process write a file, or many read it. So MLIoT's writers (ingest, dbt) take turns on ``warehouse.duckdb``, and every reader
opens another file, the *readers' copy*, at any time: it is made anew after each write and swapped in whole. A session that has the former
copy open keeps it, as it was, until it is closed (docs/data.md, docs/decisions/readers-copy.md).
"""

import fcntl
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import duckdb
import structlog

from mliot.clock import Deadline, SystemClock
from mliot.errors import Transient
from mliot.settings import Settings

WAIT_S = 300.0
"""How long one of MLIoT's processes waits for a file that another one makes, unless told otherwise."""
WRITER_WAIT_S = 1800.0
"""How long a run waits for the warehouse: a person who has it open is told by the run's log, and may need a while to see it."""
_POLL_S = 0.1
_HELD = re.compile(r"Could not set lock on file .*?(?:Conflicting lock is held in (?P<program>.+?) \(PID (?P<pid>\d+)\)|$)")
"""DuckDB's words where another process has the file open."""

Say = Callable[[str], None]
"""Told, in a line each, what is waited for and when it goes on."""


@contextmanager
def locked(path: Path, *, wait_s: float = WAIT_S, say: Say | None = None) -> Iterator[None]:
    """Holds the lock file ``path`` alone. It is the kernel's lock: it ends with the process, however that ends.

    Raises :class:`Transient` where it was not to be had within ``wait_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:

        def reason() -> str | None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return f"another process of MLIoT holds {path}"
            return None

        _wait_while(reason, Deadline.after(SystemClock(), wait_s), say)
        yield


def warehouse_lock(settings: Settings) -> Path:
    """The lock that each of MLIoT's writers takes before it opens the warehouse file."""
    return settings.home / "warehouse.lock"


@contextmanager
def writing(settings: Settings, *, wait_s: float = WRITER_WAIT_S, say: Say | None = None) -> Iterator[Deadline]:
    """The turn of one writer; once it ends without error, readers get a new copy.

    Answers how long it may wait for whoever else has the file open (:func:`opened`). Raises :class:`Transient` where another writer of
    MLIoT's took longer than ``wait_s`` seconds, or there is no room for the copy.
    """
    deadline = Deadline.after(SystemClock(), wait_s)
    with locked(warehouse_lock(settings), wait_s=wait_s, say=say):
        yield deadline
        publish_copy(settings)


def opened(settings: Settings, deadline: Deadline, say: Say | None = None) -> duckdb.DuckDBPyConnection:
    """The warehouse file, opened to write; waits while another process, such as a person's session, has it open.

    The caller has :func:`locked` it. Raises :class:`Transient` at the deadline.
    """
    found: list[duckdb.DuckDBPyConnection] = []

    def reason() -> str | None:
        try:
            found.append(duckdb.connect(settings.warehouse_path))
        except duckdb.IOException as error:
            holder = held_by(str(error))
            if holder is None:
                raise
            return f"{settings.warehouse_path} is open in {holder}; close it there, and read {settings.readers_copy_path} instead"
        return None

    _wait_while(reason, deadline, say)
    return found[0]


def held_by(error: str) -> str | None:
    """The process that DuckDB's ``error`` says has the file open; None where it says something else."""
    found = _HELD.search(" ".join(error.split()))
    if found is None:
        return None
    return f"{Path(found['program']).name} (process {found['pid']})" if found["pid"] else "another process"


@contextmanager
def open_warehouse(
    settings: Settings, mode: Literal["read", "write"] = "read", *, wait_s: float = WRITER_WAIT_S, say: Say | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in which ``schema.table`` names a table of the warehouse: to read, of the readers' copy, at once; to write, alone.

    Raises :class:`Transient`: nothing to read yet, or it had to wait for longer than ``wait_s`` seconds to write.
    """
    if mode == "write":
        deadline = Deadline.after(SystemClock(), wait_s)
        with locked(warehouse_lock(settings), wait_s=wait_s, say=say), opened(settings, deadline, say) as con:
            yield con
        return
    with duckdb.connect() as con:
        attach_copy(con, settings, "warehouse")
        con.execute("use warehouse")
        yield con


def attach_copy(con: duckdb.DuckDBPyConnection, settings: Settings, name: str) -> None:
    """Attaches the readers' copy of now to ``con``, read-only. Raises :class:`Transient` where there is none yet.

    (Opened by its path alone, a process that still has the former copy open would be given that one again.)
    """
    path = settings.readers_copy_path
    try:
        con.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as {name} (read_only)")
    except duckdb.IOException as error:
        if path.exists():
            raise
        raise Transient(f"{path}: there is no warehouse to read yet; the first ingest makes it") from error


def publish_copy(settings: Settings) -> None:
    """Makes the warehouse file as it is now the readers' copy. The caller has :func:`locked` it, and has no transaction open in it.

    Raises :class:`Transient` where there is no room for it; readers keep the former one.
    """
    with duckdb.connect(settings.warehouse_path) as con:
        con.execute("checkpoint")  # what stands in the log beside the file comes into it
    copy = settings.readers_copy_path
    copy.parent.mkdir(parents=True, exist_ok=True)
    beside = copy.with_name(f"{copy.name}.new")
    beside.unlink(missing_ok=True)  # what a killed run left
    try:
        shutil.copyfile(settings.warehouse_path, beside)
        beside.chmod(0o400)  # what was written into it would be gone with the next one
        beside.replace(copy)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise Transient(f"{copy}: the readers' copy cannot be written: {error.strerror}; readers keep the former one") from error


def _wait_while(reason: Callable[[], str | None], deadline: Deadline, say: Say | None) -> None:
    """Comes back once there is no ``reason`` to wait any more; each is told once."""
    tell = say or structlog.get_logger().warning
    told = ""
    while (now := reason()) is not None:
        if deadline.passed():
            raise Transient(f"gave up waiting: {now}")
        if now != told:
            told = now
            tell(f"waiting: {now}")
        time.sleep(_POLL_S)
    if told:
        tell("going on: it is free")
