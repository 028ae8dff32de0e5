"""The home folder belongs to the account that runs the stack: nobody else enters it, whatever the files in it allow."""

import os
import shutil
import stat
from pathlib import Path

from mliot.errors import UserError
from stack import unprivileged

UMASK = 0o077
"""With which the stack's processes make files: a second bolt, should somebody open the folder."""


def close(home: Path) -> None:
    """Make ``home``, where it is missing, and close it to others. As root the account of PostgreSQL may pass through it.

    Raises :class:`UserError` where it is not ours to close.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = home.stat()
    if found.st_uid != os.geteuid():
        raise UserError(f"MLIOT_HOME={home}: it belongs to another account, which could change all that is kept; name one of yours")
    if found.st_mode & stat.S_ISVTX:
        raise UserError(f"MLIOT_HOME={home}: everyone may write there; name a folder inside it")
    if os.geteuid() == 0:
        shutil.chown(home, group=unprivileged.group())
        home.chmod(0o710)
    else:
        home.chmod(0o700)
