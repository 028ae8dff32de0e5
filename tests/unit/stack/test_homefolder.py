"""The home folder is closed to others, and one that is not ours is refused."""

import os
import stat
from pathlib import Path

import pytest

from mliot.errors import UserError
from mliot.settings import Settings
from stack import homefolder, supervise, unprivileged


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_and_one_that_was_open_are_closed_to_others(tmp_path: Path) -> None:
    for home in (tmp_path / "deep" / "new", tmp_path / "open"):
        if home.name == "open":
            home.mkdir(mode=0o755)
        homefolder.close(home)
        assert mode(home) == (0o710 if os.geteuid() == 0 else 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs PostgreSQL itself")
def test_the_account_of_postgres_passes_through_it_without_a_right_of_roots(open_folder: Path) -> None:
    home = open_folder / "home"
    homefolder.close(home)
    assert unprivileged.may_enter(home / "postgres")
    assert unprivileged.READ_ANYWHERE[0] not in unprivileged.prefix([home / "postgres"])
    home.chmod(0o700)
    assert unprivileged.READ_ANYWHERE[0] in unprivileged.prefix([home / "postgres"])


def test_everyones_folder_is_no_home(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(UserError, match=f"MLIOT_HOME={shared}: everyone may write there"):
        homefolder.close(shared)
    assert mode(shared) == 0o1777


def test_another_accounts_folder_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path.stat().st_uid + 1
    monkeypatch.setattr("os.geteuid", lambda: other)
    with pytest.raises(UserError, match="another account"):
        homefolder.close(tmp_path)


def test_what_the_parts_write_is_closed_to_others_too() -> None:
    assert "umask=77\n" in supervise.configuration(Settings(_env_file=None), ())
