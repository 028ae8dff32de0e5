from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack import logfiles
from stack.logfiles import Follower, last_lines

LINES = st.lists(st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20), max_size=30)


@given(lines=LINES, count=st.integers(0, 40), block=st.integers(1, 50))
def test_last_lines_are_the_end_of_all_lines_whatever_the_block(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "part.log"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logfiles, "BLOCK", block)
        assert last_lines(path, count) == (lines[-count:] if count else [])


def test_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log", 5) == []
    assert Follower(tmp_path / "none.log").lines() == []


def test_follower_tells_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("before\n")
    follower = Follower(path)
    assert follower.lines() == []
    with path.open("a") as file:
        file.write("one\ntw")
    assert follower.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert follower.lines() == ["two"]
    assert follower.lines() == []


def test_follower_goes_on_in_the_new_file_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("old\n")
    follower = Follower(path)
    path.rename(tmp_path / "part.log.1")
    assert follower.lines() == []
    path.write_text("a longer new line\n")
    assert follower.lines() == ["a longer new line"]


def test_follower_starts_anew_in_a_file_that_was_emptied(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("a long old line\n")
    follower = Follower(path)
    path.write_text("new\n")
    assert follower.lines() == ["new"]
