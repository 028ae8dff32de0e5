from pathlib import Path

import msgspec
import pytest

from mliot.journal import Acknowledged, Journal, read_journals

FIRST, SECOND, THIRD = (Acknowledged("frame", f"d@{n}#00000000", "t", n) for n in range(3))
DEAD = Acknowledged("dead", "00ff", "t", 9)


def test_what_publishers_wrote_is_read_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", "b") as b, Journal(tmp_path / "journal", "a") as a:
        b.write(FIRST)
        a.write(DEAD)
        b.write(SECOND)
        assert list(read_journals(tmp_path / "journal")) == [DEAD, FIRST, SECOND], "readable while it is written"


def test_a_restart_appends(tmp_path: Path) -> None:
    for entry in (FIRST, SECOND):
        with Journal(tmp_path, "a") as journal:
            journal.write(entry)
    assert list(read_journals(tmp_path)) == [FIRST, SECOND]


@pytest.mark.parametrize("torn", [b"{", b'{"kind":"frame","id":"' + b"x" * 9000])
def test_a_torn_line_is_skipped_and_then_cut_off(tmp_path: Path, torn: bytes) -> None:
    with Journal(tmp_path, "a") as journal:
        journal.write(FIRST)
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(torn)
    assert list(read_journals(tmp_path)) == [FIRST]
    with Journal(tmp_path, "a") as journal:
        journal.write(SECOND)
    assert list(read_journals(tmp_path)) == [FIRST, SECOND]


def test_a_journal_that_is_nothing_but_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"kind"')
    with Journal(tmp_path, "a") as journal:
        journal.write(THIRD)
    assert list(read_journals(tmp_path)) == [THIRD]


def test_a_foreign_line_is_an_error_not_a_loss(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"kind":"frame"}\n')
    with pytest.raises(msgspec.ValidationError):
        list(read_journals(tmp_path))


def test_no_folder_no_entries(tmp_path: Path) -> None:
    assert list(read_journals(tmp_path / "absent")) == []
