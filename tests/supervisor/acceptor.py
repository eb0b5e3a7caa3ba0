"""A process that accepts on inherited sockets, to be killed and replaced: `acceptor.py FD...`.

It answers every connection with its process id. Lines on its standard input tell it to `listen`, to
`pass on` or to `stop`, as often as one likes, and it says when it has done so.
"""

import asyncio
import os
import socket
import sys
from typing import cast

import uvloop

from ingest.http.listener import Listener


class _Answer(asyncio.Protocol):
    """Reads something, and answers with who this is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(str(os.getpid()).encode())
        self._transport.close()


class _Answering(Listener):
    """The server's listener, of connections that need no HTTP."""

    def __init__(self) -> None:
        self._listening = []
        self._crowd = None
        self._open = set()
        self._fast_lane = None

    def __call__(self) -> asyncio.Protocol:
        return _Answer()


async def _serve(descriptors: list[int]) -> None:
    listener, reader = _Answering(), asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while command := await reader.readline():
        match command:
            case b"listen\n":
                await listener.listen([socket.socket(fileno=os.dup(each)) for each in descriptors])
            case b"pass on\n":
                await listener.pass_on()
            case b"stop\n":
                for each in descriptors:
                    os.close(each)
                await listener.stop_listening()
        sys.stdout.write("done\n")
        sys.stdout.flush()
    await asyncio.sleep(0.1)  # who was accepted last is answered


if __name__ == "__main__":
    uvloop.run(_serve([int(each) for each in sys.argv[1:]]))
