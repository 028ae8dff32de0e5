"""How a program that refuses to run as root is run by root: under an existing account without rights, through util-linux' ``setpriv``.

Where that account could not enter the folders that the program needs (a project under ``/root``, say), the program keeps one right of
root's: to read and enter any folder. It is told by the folders' modes.
"""

import os
import pwd
import shutil
from collections.abc import Iterable
from pathlib import Path

from mliot.errors import UserError

ACCOUNT = "nobody"
READ_ANYWHERE = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
ENTER, GROUP_ENTER = 0o001, 0o010


def prefix(paths: Iterable[Path], stop: str = "TERM") -> tuple[str, ...]:
    """What to put before a command that works in ``paths``: nothing, unless this is root. ``stop`` is sent to it when its parent dies."""
    if os.geteuid() != 0:
        return ()
    reachable = all(may_enter(path) for path in paths)
    account = ("setpriv", "--reuid", ACCOUNT, "--regid", str(group()), "--clear-groups", "--pdeathsig", stop)
    return account if reachable else (*account, *READ_ANYWHERE)


def group() -> int:
    """The account's group."""
    return pwd.getpwnam(ACCOUNT).pw_gid


def may_enter(path: Path) -> bool:
    """True where the account may enter the folders above ``path``; those that do not exist yet are not asked."""
    return all(_lets_in(folder.stat()) for folder in path.absolute().parents if folder.exists())


def _lets_in(folder: os.stat_result) -> bool:
    return bool(folder.st_mode & (GROUP_ENTER if folder.st_gid == group() else ENTER))


def hand_over(*paths: Path) -> None:
    """Give ``paths`` to the account, where this is root."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, ACCOUNT)


def require() -> None:
    """Raise :class:`UserError` where this is root and ``setpriv`` is missing."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        raise UserError(
            "PostgreSQL does not run as root, and setpriv (of util-linux), which would run it under another account, is missing: "
            "start MLIoT as an ordinary user, or set MLIOT_POSTGRES_DSN to a server of your own"
        )
