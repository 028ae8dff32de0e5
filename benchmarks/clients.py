"""Clients of an HTTP server that ask again as soon as they have their answer: one process, no threads, little work an answer."""

import gc
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import msgspec

from mliot.settings import HOST

CLIENTS = 32
PATIENCE_S = 30.0
_LENGTH = b"content-length:"
_READ = 1 << 16


class Answer(NamedTuple):
    """When it was asked for and when it was there (readings of ``perf_counter``), and what it says."""

    asked: float
    came: float
    body: bytes


def post(path: str, body: object) -> bytes:
    """The request, whole."""
    content = msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def ask(port: int, request: bytes, going: Callable[[list[Answer]], bool], clients: int = CLIENTS) -> list[Answer]:
    """Every answer that ``clients`` got while ``going``, the last one of each waited for.

    ``going`` is asked often, and given the answers so far, in the order in which they came.

    Raises :class:`ValueError` for an answer that is not 200, :class:`ConnectionError` and :class:`TimeoutError` where none comes.
    """
    answers: list[Answer] = []
    with ExitStack() as stack, _no_collector(), selectors.DefaultSelector() as selector:
        for _ in range(clients):
            connection = _Connection(stack.enter_context(socket.create_connection((HOST, port), PATIENCE_S)))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(request)
        waiting = clients
        while waiting:
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise TimeoutError(f"{waiting} clients have no answer after {PATIENCE_S:g} s")
            more = going(answers)
            for key, _ in ready:
                answer = key.data.receive()
                if answer is None:
                    continue
                answers.append(answer)
                if more:
                    key.data.ask(request)
                else:
                    waiting -= 1
                    selector.unregister(key.fileobj)
            if not more:
                going = _never
    return answers


class _Connection:
    """One client's."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked = 0.0
        self._had = b""

    def ask(self, request: bytes) -> None:
        self._asked = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> Answer | None:
        """The answer, once it is whole."""
        data = self.socket.recv(_READ)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._had += data
        body = _body(self._had)
        if body is None:
            return None
        self._had = b""
        return Answer(self._asked, time.perf_counter(), body)


def _body(data: bytes) -> bytes | None:
    """The body of the response in ``data``, or None where it is not whole yet. Raises :class:`ValueError` where its status is not 200."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"answered: {data[:500]!r}")
    lower = head.lower()
    at = lower.index(_LENGTH) + len(_LENGTH)
    return body if len(body) >= int(lower[at:].partition(b"\r\n")[0]) else None


def _never(_: list[Answer]) -> bool:
    return False


def asking_until(end: float) -> Callable[[list[Answer]], bool]:
    """For :func:`ask`: as long as ``perf_counter`` has not reached ``end``."""
    return lambda _: time.perf_counter() < end


@contextmanager
def _no_collector() -> Iterator[None]:
    """The garbage collector would stop the clients, and so look like a slow answer."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
