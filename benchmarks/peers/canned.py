"""A server that answers every request at once with the same bytes: ``python -m benchmarks.peers.canned PORT``.

What its clients reach is as much as they can ask for on this machine.
"""

import asyncio
import sys

from mliot.settings import HOST

BODY = b'{"predictions":[{"value":1,"probability":0.75,"low":null,"high":null}]}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Canned(asyncio.Protocol):
    """One connection, one request at a time; each comes whole, since it is small."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, _: bytes) -> None:
        self._transport.write(ANSWER)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Canned, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
