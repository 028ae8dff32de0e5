"""Are the ports distinct and free that the stack is about to listen on? Asked before anything starts."""

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from mliot.errors import PortTaken, SettingError
from mliot.settings import HOST, PREFIX


@dataclass(frozen=True)
class Listener:
    """A port of a part, and the setting that moves it (``offset`` ports above the setting's value)."""

    port: int
    setting: str
    offset: int = 0

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.setting.upper()}"

    @property
    def above(self) -> str:
        return f" (it is {self.offset} above it)" if self.offset else ""


def require_distinct(parts: Iterable[tuple[str, Listener]]) -> None:
    """Raise :class:`SettingError` for the first port that two parts are to listen on: both parts, and both variables."""
    owners: dict[int, tuple[str, Listener]] = {}
    for part, listener in parts:
        other, first = owners.setdefault(listener.port, (part, listener))
        if first is not listener:
            raise SettingError(
                f"port {listener.port} is given to {other} by {first.variable}{first.above} and to {part} by "
                f"{listener.variable}{listener.above}; each needs one of its own"
            )


def require_free(parts: Iterable[tuple[str, Listener]]) -> None:
    """Raise :class:`PortTaken` for the first port that another process has: part, port, that process and the variable that moves it."""
    for part, listener in parts:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, listener.port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                why = f"is taken{_holder(listener.port)}" if error.errno == errno.EADDRINUSE else "is not allowed to this account"
                raise PortTaken(f"port {listener.port} of {part} {why}; {listener.variable} moves it{listener.above}") from error


def _holder(port: int) -> str:
    """`` by java (process 123)`` where the system tells, else nothing."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
        holder = next((c.pid for c in listening if c.pid), None)
        return f" by {psutil.Process(holder).name()} (process {holder})" if holder else ""
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return ""
