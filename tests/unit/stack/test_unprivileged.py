from pathlib import Path

import pytest

from mliot.errors import UserError
from stack import unprivileged


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_ordinary_user_runs_programs_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert unprivileged.prefix([tmp_path]) == ()
    unprivileged.require()


def test_root_runs_them_under_another_account_that_ends_with_its_parent(root: None) -> None:
    command = unprivileged.prefix([Path("/usr/bin/true")], stop="INT")
    assert command[:3] == ("setpriv", "--reuid", "nobody")
    assert command[-2:] == ("--pdeathsig", "INT")


def test_closed_folder_above_the_program_is_opened_for_reading_only(root: None, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    command = unprivileged.prefix([closed / "deeper" / "program"])
    assert command[-4:] == unprivileged.READ_ANYWHERE
    assert not any("dac_override" in word for word in command)


def test_missing_setpriv_is_said_with_the_ways_out(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"setpriv .* MLIOT_POSTGRES_DSN"):
        unprivileged.require()
