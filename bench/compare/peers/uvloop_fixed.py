"""Python's ceiling: a bare protocol on uvloop that finds where a request ends, with a fixed answer.

It checks nothing and stores nothing: no Python server can answer POSTs faster than this.
"""

import asyncio
from typing import cast

import click
import uvloop

from bench.compare.peers.common import FIXED_BODY, greet, options

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(FIXED_BODY),
    FIXED_BODY,
)


class Fixed(asyncio.Protocol):
    """Answers each complete request, found by its Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is complete and keep the rest."""
        data = self._rest + data if self._rest else data
        while data:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:  # noqa: PLR2004 - not found
                break
            at = data.find(b"Content-Length: ", 0, end) + 16
            end += int(data[at : data.find(b"\r", at)])
            if len(data) < end:
                break
            self._transport.write(_ANSWER)
            data = data[end:]
        self._rest = data


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", port, backlog=2048)
    greet(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@click.command()
@options
def main(database_url: str, port: int) -> None:
    """Answer every POST with the same 200."""
    del database_url  # it stores nothing
    uvloop.run(serve(port))


if __name__ == "__main__":
    main()
