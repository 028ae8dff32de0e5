"""A TCP proxy in a thread of its own that delays what passes, and cuts connections. It knows nothing of what it carries."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from mliot.settings import HOST

PIECE = 64 * 1024
AHEAD = 256
"""Pieces of one direction that are under way at once; more are left to TCP's own back pressure."""
START_S = 10.0
T = TypeVar("T")


@dataclass(eq=False)
class Link:
    """A client's connection, and the one to the server that was opened for it."""

    from_client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    to_server: asyncio.StreamWriter

    def cut(self) -> None:
        """Ends both, at once and without a word."""
        self.cut_client()
        self.to_server.transport.abort()

    def cut_client(self) -> None:
        self.to_client.transport.abort()


class Proxy:
    """Carries connections from ``address`` to the server at ``port``; ``delay_s`` is how much later each piece arrives, either way."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._server_port = port
        self._loop = asyncio.new_event_loop()
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {port}", daemon=True)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._listener = self.run(asyncio.start_server(self._accept, HOST, 0)).result(START_S)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._end()).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Does ``work`` in the proxy's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def cut(self) -> int:
        """Ends every connection there is; returns how many there were. New ones are let in."""
        return self.run(self._cut()).result(START_S)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _end(self) -> None:
        self._listener.close()
        await self._cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):  # the server is away: so is its proxy; or the proxy itself is ending
                from_server, to_server = await asyncio.open_connection(HOST, self._server_port)
                await self._carry(Link(from_client, to_client, from_server, to_server))
        finally:
            to_client.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, link: Link) -> None:
        """Returns when either end has hung up."""
        self._links.add(link)
        ways = [
            asyncio.create_task(self._way(self.requests(link), link.to_server)),
            asyncio.create_task(self._way(self.answers(link), link.to_client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._links.discard(link)
            link.cut_client()
            if not self.keeps_server(link):
                link.cut()

    async def _way(self, pieces: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
        """One direction: a piece is written ``delay_s`` after it came, in order."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)

        async def read() -> None:
            async for piece in pieces:
                await under_way.put((self._loop.time() + self.delay_s, piece))
            await under_way.put((0.0, b""))

        reading = asyncio.create_task(read())
        try:
            with suppress(ConnectionError):
                while (due := await under_way.get())[1]:
                    await asyncio.sleep(max(0.0, due[0] - self._loop.time()))
                    writer.write(due[1])
                    await writer.drain()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def requests(self, link: Link) -> AsyncIterator[bytes]:
        """What is sent on to the server."""
        return _pieces(link.from_client)

    def answers(self, link: Link) -> AsyncIterator[bytes]:
        """What is sent on to the client."""
        return _pieces(link.from_server)

    def keeps_server(self, link: Link) -> bool:
        """True where the connection to the server outlives ``link``, whose client has hung up."""
        return False


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whatever comes, as it comes, until the connection ends."""
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            yield piece
