"""The readers' copy: whole or not at all, never in a writer's way, and a reason for every wait."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from mliot.errors import Transient
from mliot.settings import Settings
from warehouse.access import attach_copy, held_by, locked, open_warehouse, publish_copy, warehouse_lock, writing

HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "it's home", _env_file=None)


def put(settings: Settings, value: int) -> None:
    with writing(settings), duckdb.connect(settings.warehouse_path) as con:
        con.execute("create schema if not exists raw; create table if not exists raw.t (v int)")
        con.execute("insert into raw.t values (?)", [value]).fetchall()


def values(con: duckdb.DuckDBPyConnection) -> list[int]:
    return [value for (value,) in con.execute("select v from raw.t order by v").fetchall()]


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.communicate("")


def test_before_the_first_write_there_is_nothing_to_read(settings: Settings) -> None:
    with pytest.raises(Transient, match="there is no warehouse to read yet; the first ingest makes it"), open_warehouse(settings):
        pass


def test_a_reader_sees_what_was_there_when_it_opened_and_the_next_one_what_is_new_also_in_one_process(settings: Settings) -> None:
    put(settings, 1)
    with open_warehouse(settings) as early:
        put(settings, 2)
        assert values(early) == [1]
        with open_warehouse(settings) as late:
            assert (values(late), values(early)) == ([1, 2], [1])


def test_the_copy_cannot_be_written_through_a_reader(settings: Settings) -> None:
    put(settings, 1)
    with open_warehouse(settings) as con, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute("delete from raw.t").fetchall()
    assert settings.readers_copy_path.stat().st_mode & 0o777 == 0o400


def test_a_write_that_fails_publishes_nothing(settings: Settings) -> None:
    put(settings, 1)
    with pytest.raises(duckdb.ConversionException), writing(settings), duckdb.connect(settings.warehouse_path) as con:
        con.execute("insert into raw.t values (2); insert into raw.t values ('no number')").fetchall()
    with open_warehouse(settings) as con:
        assert values(con) == [1]


def test_what_a_killed_run_left_half_copied_is_swept_away(settings: Settings) -> None:
    put(settings, 1)
    half = settings.readers_copy_path.with_name("warehouse.duckdb.new")
    half.write_bytes(b"half")
    half.chmod(0o400)
    put(settings, 2)
    with open_warehouse(settings) as con:
        assert values(con) == [1, 2]
    assert not half.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_without_room_for_the_copy_readers_keep_the_former_one_and_the_run_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, 1)

    def full(_: Path, to: Path) -> None:
        to.write_bytes(b"the beginning")
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"the rest")

    monkeypatch.setattr("warehouse.access.shutil.copyfile", full)
    with pytest.raises(Transient, match=r"readers' copy cannot be written: No space left on device; readers keep the former one"):
        put(settings, 2)
    with open_warehouse(settings) as con:
        assert values(con) == [1]
    assert [path.name for path in settings.readers_copy_path.parent.iterdir()] == ["warehouse.duckdb"]


def test_a_person_on_the_copy_is_not_waited_for(settings: Settings) -> None:
    put(settings, 1)
    with held(settings.readers_copy_path):
        said: list[str] = []
        with open_warehouse(settings, "write", wait_s=0, say=said.append):
            pass
        put(settings, 2)
        assert said == []


def test_a_person_on_the_file_itself_is_waited_for_until_the_deadline_and_named(settings: Settings) -> None:
    put(settings, 1)
    said: list[str] = []
    with held(settings.warehouse_path) as holder:
        who = f"(process {holder.pid}); close it there, and read {settings.readers_copy_path} instead"
        with pytest.raises(Transient) as error, open_warehouse(settings, "write", wait_s=0.3, say=said.append):
            pass
    assert str(error.value).startswith(f"gave up waiting: {settings.warehouse_path} is open in python")
    assert str(error.value).endswith(who)
    assert [line.endswith(who) for line in said] == [True], "once, however often it was looked at"


def test_another_writer_is_waited_for_and_named(settings: Settings) -> None:
    said: list[str] = []
    told = r"gave up waiting: another process of MLIoT holds .*warehouse\.lock"
    with locked(warehouse_lock(settings)), pytest.raises(Transient, match=told), writing(settings, wait_s=0.2, say=said.append):
        pass
    assert len(said) == 1


def test_what_stands_in_the_log_beside_the_file_is_in_the_copy(settings: Settings) -> None:
    """A process that was killed leaves a log beside the file, which the next one to open it takes in."""
    put(settings, 1)
    killed = (
        'import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute("pragma disable_checkpoint_on_shutdown");'
        "c.execute('insert into raw.t values (2)').fetchall(); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", killed, str(settings.warehouse_path)], check=False)
    assert ended.returncode == -9
    log = settings.warehouse_path.with_name(f"{settings.warehouse_path.name}.wal")
    assert log.stat().st_size > 0
    with locked(warehouse_lock(settings)):
        publish_copy(settings)
    assert not log.exists() or not log.stat().st_size
    with duckdb.connect() as con:
        attach_copy(con, settings, "history")
        assert con.execute("select v from history.raw.t order by v").fetchall() == [(1,), (2,)]


@pytest.mark.parametrize(
    ("told", "holder"),
    [
        ("IO Error: Could not set lock on file \"/a b/w.duckdb\": Conflicting lock is held in /bin/py (PID 7). See", "py (process 7)"),
        ("IO Error:\nCould not set lock on file \"/w.duckdb\": Resource temporarily unavailable", "another process"),
        ("IO Error: Cannot open file \"/w.duckdb\": No such file or directory", None),
    ],
)  # fmt: skip
def test_who_holds_the_file_is_read_out_of_duckdbs_words(told: str, holder: str | None) -> None:
    assert held_by(told) == holder


def test_a_home_of_another_user_is_no_reason_to_wait(settings: Settings) -> None:
    """Only what may pass is waited for: that a file cannot be opened at all is an error at once."""
    if os.geteuid() == 0:
        settings.warehouse_path.mkdir(parents=True)  # root may open every file, but no folder
    else:
        put(settings, 1)
        settings.warehouse_path.chmod(0)
    with pytest.raises(duckdb.IOException), open_warehouse(settings, "write", wait_s=60):
        pass
