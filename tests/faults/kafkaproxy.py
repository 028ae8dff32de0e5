"""A proxy that understands as much of Kafka's protocol as it takes to stay in the way, and to hold back the end of a transaction.

Every request begins with its size (4 bytes), the number of its kind and of that kind's version (2 each) and its own number (4), which the
answer repeats behind its size, and then the client's name, as ``client.id`` has it (https://kafka.apache.org/protocol).
"""

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from mliot.settings import HOST
from tests.faults.proxy import Link, Proxy

PRODUCE, METADATA, FIND_COORDINATOR, ADD_PARTITIONS, END_TXN = 0, 3, 10, 24, 26
END_TXN_FLEXIBLE = 3
"""From this version on an answer has tagged fields behind its number."""
ANSWER_S = 30.0
SIZE, REQUEST, NUMBER, PORT, THROTTLE_AND_ERROR = (struct.Struct(form) for form in (">i", ">hhih", ">i", ">i", ">ih"))


class Request(NamedTuple):
    """The head of a request."""

    kind: int
    version: int
    number: int
    client: str

    @classmethod
    def of(cls, frame: bytes) -> "Request":
        kind, version, number, length = REQUEST.unpack_from(frame, SIZE.size)
        at = SIZE.size + REQUEST.size
        return cls(kind, version, number, frame[at : at + max(length, 0)].decode("utf-8", "replace"))


class Held(NamedTuple):
    """An EndTxn request that its sender believes lost: the bytes, and the connection to the server on which they still may arrive."""

    link: Link
    request: Request
    frame: bytes


class KafkaProxy(Proxy):
    """The proxy of a Kafka of one node: answers that name the server's address name the proxy's instead."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._changed = threading.Condition()
        self._answered: Counter[tuple[str, int]] = Counter()
        self._hold_of = ""
        self._held: Held | None = None
        self._waiting: dict[Link, dict[int, Request]] = {}

    def hold_end(self, client: str) -> None:
        """The next EndTxn of ``client`` is held back and its connection cut, as if the network had broken behind it."""
        self._hold_of = client

    def release_end(self) -> int | None:
        """Lets the EndTxn that is held arrive; Kafka's answer to it: 0 it obeyed, 47 it is fenced. None where none was held."""
        self._hold_of = ""
        held, self._held = self._held, None
        return self.run(self._deliver(held)).result(ANSWER_S) if held is not None else None

    def wait_held(self, within_s: float = ANSWER_S) -> bool:
        """True once an EndTxn is held; False where none came."""
        with self._changed:
            return self._changed.wait_for(lambda: self._held is not None, within_s)

    def answered(self, client: str, kind: int) -> int:
        """How many answers to requests of ``kind`` have passed to ``client`` since the proxy began."""
        return self._answered[client, kind]

    def wait_answered(self, client: str, kind: int, count: int, within_s: float = ANSWER_S) -> bool:
        """True once that is ``count``; False where it does not come to it."""
        with self._changed:
            return self._changed.wait_for(lambda: self._answered[client, kind] >= count, within_s)

    async def _deliver(self, held: Held) -> int:
        """Sends the request, reads on to its answer, and hangs up."""
        try:
            held.link.to_server.write(held.frame)
            await held.link.to_server.drain()
            while True:
                answer = await _frame(held.link.from_server)
                if NUMBER.unpack_from(answer, SIZE.size)[0] == held.request.number:
                    at = SIZE.size + NUMBER.size + (1 if held.request.version >= END_TXN_FLEXIBLE else 0)
                    return int(THROTTLE_AND_ERROR.unpack_from(answer, at)[1])
        finally:
            held.link.to_server.transport.abort()

    async def requests(self, link: Link) -> AsyncIterator[bytes]:
        waiting = self._waiting.setdefault(link, {})
        async for frame in _frames(link.from_client):
            request = Request.of(frame)
            if request.kind == END_TXN and request.client == self._hold_of:
                self._hold(Held(link, request, frame))
                return
            waiting[request.number] = request
            yield frame

    async def answers(self, link: Link) -> AsyncIterator[bytes]:
        server, proxy = (HOST.encode() + PORT.pack(port) for port in (self._server_port, self.port))
        waiting = self._waiting.setdefault(link, {})
        async for frame in _frames(link.from_server):
            request = waiting.pop(NUMBER.unpack_from(frame, SIZE.size)[0])
            yield frame.replace(server, proxy) if request.kind in (METADATA, FIND_COORDINATOR) else frame
            with self._changed:
                self._answered[request.client, request.kind] += 1
                self._changed.notify_all()

    def keeps_server(self, link: Link) -> bool:
        self._waiting.pop(link, None)
        return self._held is not None and self._held.link is link

    def _hold(self, held: Held) -> None:
        with self._changed:
            self._held, self._hold_of = held, ""
            self._changed.notify_all()
        held.link.cut_client()


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whole requests or answers, each with its size in front, until the connection ends."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            yield await _frame(reader)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(SIZE.size)
    return size + await reader.readexactly(SIZE.unpack(size)[0])
