"""The supervisor outlives its logs."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from supervisor import loggers

from stack.supervisord import PatientFileHandler


class Full(io.BytesIO):
    """A file on a disk without space."""

    def write(self, _: Any) -> int:
        raise OSError(28, "No space left on device")


@contextmanager
def logger_at(path: Path, maxbytes: int = 1000) -> Iterator[tuple[loggers.Logger, PatientFileHandler]]:
    handler = PatientFileHandler(str(path), "a", maxbytes, 2)
    handler.setFormat("%(message)s\n")
    yield loggers.Logger(handlers=[handler]), handler
    handler.close()


def test_what_finds_no_space_is_counted_and_told_as_soon_as_there_is_some(tmp_path: Path) -> None:
    with logger_at(tmp_path / "log") as (log, handler):
        log.info("before")
        kept, handler.stream = handler.stream, Full()
        log.info("lost")
        log.info("lost too")
        handler.stream = kept
        log.info("after")
    assert (tmp_path / "log").read_text() == "before\n(up to 2 writes are missing here: No space left on device)\nafter\n"


def test_a_rotation_that_fails_half_way_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with logger_at(tmp_path / "log", maxbytes=10) as (log, handler):
        monkeypatch.setattr(handler, "removeAndRename", fails)
        log.info("long enough to be rotated")
        assert handler.stream.closed
        monkeypatch.undo()
        log.info("after")
        log.info("and on")
    written = [path.read_text() for path in sorted(tmp_path.iterdir(), reverse=True)]
    assert "(up to 1 writes are missing here: No space left on device)\nafter\n" in "".join(written)
    assert "and on\n" in "".join(written)


def test_another_mistake_is_told_as_the_supervisor_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logger_at(tmp_path / "log") as (log, handler):
        handler.setFormat("%(missing)s\n")
        log.info("said")
    assert "KeyError" in capsys.readouterr().err
