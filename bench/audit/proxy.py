"""A TCP proxy in front of Postgres's socket: it can cut, hold and refuse, at chosen moments.

It reads only as much of the protocol as it needs to see a commit's answer: the framing of backend
messages, and CommandComplete with the tag of a COPY of rows, an INSERT of rows, or a COMMIT.

Source: https://www.postgresql.org/docs/18/protocol-message-formats.html.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Final, cast

from bench.audit.sockets import reset_on_close

_CONNECT_TIMEOUT_S: Final = 5.0
_HEAD_BYTES: Final = 5
_COMMAND_COMPLETE: Final = ord("C")
_COMMITTED: Final = re.compile(rb"COPY [1-9]|INSERT 0 [1-9]|COMMIT")
_LARGE_BYTES: Final = 512


class Way(Enum):
    """Which bytes a proxy holds back."""

    BOTH = "of either side"
    SENT = "what the server sends"
    ANSWERED = "what Postgres answers"


class Trap(Enum):
    """What is to happen to the next connection on which something commits."""

    BEFORE_ANSWER = "cut before the commit's answer"
    AFTER_ANSWER = "cut behind the commit's answer"
    HALF_SENT = "cut in the middle of what is sent"
    STRANDED = "cut in the middle of what is sent, and Postgres is not told"


class Proxy:
    """Listens on a port of its own; every connection goes to one Unix socket."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._trap: Trap | None = None
        self._sprung = asyncio.Event()
        self.is_refusing = False
        self.held: Way | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and cut what is open."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            link.reset()

    def refuse(self) -> None:
        """Cut everything and reset whoever connects, until `allow`."""
        self.is_refusing = True
        self.cut()

    def allow(self) -> None:
        """Take connections again."""
        self.is_refusing = False

    def hold(self, way: Way = Way.BOTH) -> None:
        """Let no byte pass that way, until `release`."""
        self.held = way
        for link in self._links:
            link.hold(way)

    def strand(self) -> None:
        """Reset the server's side of every connection, and keep Postgres's until `release`.

        So it is where a machine or a firewall goes away without a word: sessions go on waiting, in
        the middle of what they do, with all that they have locked.
        """
        for link in list(self._links):
            link.strand()

    def refuse_newcomers(self) -> None:
        """Reset whoever connects, until `allow`; what is open stays."""
        self.is_refusing = True

    def release(self) -> None:
        """Let bytes pass again, and have Postgres hear of what was stranded."""
        self.held = None
        for link in list(self._links):
            link.release()

    async def spring(self, trap: Trap, timeout_s: float) -> bool:
        """Wait until a trap has caught somebody; return whether it has."""
        self._trap = trap
        self._sprung.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._sprung.wait()
        self._trap = None
        return self._sprung.is_set()

    async def connect(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Connect to Postgres; raise OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await loop.create_unix_connection(make, self._socket_path)

    def springs(self, *traps: Trap) -> Trap | None:
        """Return the trap that is set, if it is one of these, and disarm it."""
        trap = self._trap
        if trap is None or trap not in traps:
            return None
        self._trap = None
        self._sprung.set()
        return trap

    def add(self, link: "_Link") -> None:
        """Take note of a new connection."""
        self._links.add(link)

    def discard(self, link: "_Link") -> None:
        """Forget one that has ended."""
        self._links.discard(link)


class _Link(asyncio.Protocol):
    """The server's side of one connection, and the owner of Postgres's side."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.near: asyncio.Transport | None = None
        self.far: asyncio.Transport | None = None
        self._early = bytearray()
        self._is_stranded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.near = cast("asyncio.Transport", transport)
        self.proxy.add(self)
        if self.proxy.is_refusing:
            self.reset()
            return
        if self.proxy.held is not None:
            self.hold(self.proxy.held)
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self.proxy.connect(lambda: _Far(self))
        except OSError:
            self.reset()

    def joined(self, far: asyncio.Transport) -> None:
        """Go on once Postgres's side is there too."""
        self.far = far
        if self.near is None:
            far.abort()
            return
        if self.proxy.held is not None:
            self.hold(self.proxy.held)
        far.write(bytes(self._early))
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self.far is None:
            self._early += data
        elif len(data) > _LARGE_BYTES and self.proxy.springs(Trap.HALF_SENT):
            self.far.write(data[: len(data) // 2])
            self.reset(is_gentle=True)
        elif len(data) > _LARGE_BYTES and self.proxy.springs(Trap.STRANDED):
            self.far.write(data[: len(data) // 2])
            self.strand()
        else:
            self.far.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.near = None
        if not self._is_stranded:
            self._end()

    def hold(self, way: Way) -> None:
        """Stop reading on both sides, or on one."""
        sides = {Way.BOTH: (self.near, self.far), Way.SENT: (self.near,)}.get(way, (self.far,))
        for side in sides:
            if side is not None and not side.is_closing():
                side.pause_reading()

    def strand(self) -> None:
        """End the server's side with an RST, and let Postgres believe that it is there."""
        if self.near is not None and self.far is not None:
            self._is_stranded = True
            reset_on_close(self.near)
            self.near.abort()

    def release(self) -> None:
        """Read again; end what was stranded."""
        if self._is_stranded:
            self._end()
            return
        for side in (self.near, self.far):
            if side is not None and not side.is_closing():
                side.resume_reading()

    def reset(self, *, is_gentle: bool = False) -> None:
        """End both sides, the server's with an RST; gently: what was written to Postgres goes."""
        near, far = self.near, self.far
        if near is not None:
            reset_on_close(near)
            near.abort()
        if far is not None:
            if is_gentle:
                far.close()
            else:
                far.abort()

    def far_lost(self) -> None:
        """Postgres's side has ended."""
        self.far = None
        if self.near is not None:
            self.near.close()
        self._end()

    def _end(self) -> None:
        if self.far is not None:
            self.far.close()
        self.proxy.discard(self)


class _Far(asyncio.Protocol):
    """Postgres's side of one connection: passes bytes on, and looks for commits."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.joined(cast("asyncio.Transport", transport))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._link.far_lost()

    def data_received(self, data: bytes) -> None:
        link = self._link
        trap = None
        if self._commits(data):
            trap = link.proxy.springs(Trap.BEFORE_ANSWER, Trap.AFTER_ANSWER)
        if link.near is not None and trap is not Trap.BEFORE_ANSWER:
            link.near.write(data)
        if trap is Trap.AFTER_ANSWER and link.near is not None:
            link.near.close()  # what was written arrives first
        elif trap is not None:
            link.reset()

    def _commits(self, data: bytes) -> bool:
        """Walk the messages; return whether one of them tells of a commit."""
        data = self._rest + data
        start, end, found = 0, len(data), False
        while end - start >= _HEAD_BYTES:
            size = int.from_bytes(data[start + 1 : start + _HEAD_BYTES], "big") + 1
            if end - start < size:
                break
            if data[start] == _COMMAND_COMPLETE:
                found |= bool(_COMMITTED.match(data, start + _HEAD_BYTES))
            start += size
        self._rest = data[start:]
        return found
