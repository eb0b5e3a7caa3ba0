"""One connection of a peer that misbehaves, and the count of what peers did and were told."""

import asyncio
import re
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

from bench.load.http import Heads

_DRIP_S = 1.0
_LOOK_S = 0.1
_SIP_S = 0.1
_SIP_BYTES = 16_384
_WINDOW_BYTES = 4_096
_OK = 200
_READ_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_END_OF_HEAD = b"\r\n\r\n"


@dataclass
class Deeds:
    """What the peers of one process did, and what they were told."""

    connections: int = 0
    failed_connects: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    """The first answer that each connection read, where it read any; all, of those that `ask`."""
    half_closed: int = 0
    """Whole requests behind which a peer closed its sending side."""
    half_closed_answered: int = 0
    """How many of them got a 200."""
    sipped: int = 0
    """Answers that were read a little at a time, none of them to its end."""
    cut_off: int = 0
    """How many of them the server has ended."""


class Peer:
    """One connection of a hostile peer."""

    def __init__(self, sock: socket.socket, request: bytes, deeds: Deeds) -> None:
        self.request = request
        """One whole `POST /event` as a good client would send it."""
        self.deeds = deeds
        self._socket = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """Send all; raise OSError when the server has closed."""
        await self._loop.sock_sendall(self._socket, data)

    async def drip(self, data: bytes) -> None:
        """Send a byte a second until the server closes."""
        for byte in data:
            await self.send(bytes((byte,)))
            if not await self.lingers(_DRIP_S):
                return

    async def until_closed(self) -> int:
        """Read until the server closes; return the first answer's status, 0 for none."""
        status = 0
        while data := await self._loop.sock_recv(self._socket, _READ_BYTES):
            if not status and (found := _STATUS.match(data)):
                status = int(found[1])
                self.deeds.statuses[status] += 1
        return status

    async def ask(self, request: bytes) -> None:
        """Send a whole request and read all of its answer; raise OSError if none comes."""
        await self.send(request)
        answer = b""
        while _END_OF_HEAD not in answer:
            answer += await self._receive()
        head_bytes = answer.index(_END_OF_HEAD) + len(_END_OF_HEAD)
        head = Heads().parse(answer[:head_bytes])
        missing_bytes = head_bytes + head.body_bytes - len(answer)
        while missing_bytes > 0:
            missing_bytes -= len(await self._receive())
        self.deeds.statuses[head.status] += 1

    async def lingers(self, seconds: float) -> bool:
        """Wait for so long at most; return whether the server left the connection open."""
        try:
            async with asyncio.timeout(seconds):
                await self.until_closed()
        except TimeoutError:
            return True
        return False

    async def stays_unread(self) -> None:
        """Read the beginning of an answer; if it is a good one, nothing more until it is closed."""
        if await self._begin_answer() != _OK:
            return
        while True:
            await asyncio.sleep(_LOOK_S)
            self._socket.getpeername()  # raises once it is closed

    async def sip(self) -> None:
        """Read the beginning of an answer; if it is a good one, the rest at 160 KB/s."""
        if await self._begin_answer() != _OK:
            return
        self.deeds.sipped += 1
        try:
            while True:
                await asyncio.sleep(_SIP_S)
                await self._receive(_SIP_BYTES)
        except OSError:
            self.deeds.cut_off += 1
            raise

    async def _begin_answer(self) -> int:
        """Read the beginning of an answer; return its status, 0 if there is none."""
        found = _STATUS.match(await self._receive(_SIP_BYTES))
        status = int(found[1]) if found else 0
        self.deeds.statuses[status] += 1
        return status

    async def _receive(self, bytes_max: int = _READ_BYTES) -> bytes:
        data = await self._loop.sock_recv(self._socket, bytes_max)
        if not data:
            raise ConnectionResetError("the server closed")
        return data

    def narrow(self) -> None:
        """Have most of an answer wait at the server."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset_on_close(self) -> None:
        """Let the end of this connection be an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
