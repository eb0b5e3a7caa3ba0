"""What listens: makes a connection for each client, and looks after all that are open."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import http_parser, web

from ingest.addresses import bracketed, identity
from ingest.config import Limits
from ingest.errors import StartupError
from ingest.http import handshakes
from ingest.http.budget import Budget
from ingest.http.connection import Connection
from ingest.http.fast_connection import FastConnection
from ingest.http.fastlane import FastLane
from ingest.http.request_log import RequestLog
from ingest.observe.metrics import Metrics
from ingest.share.member import Crowd

_BACKLOG: Final = 2048
_KEEPING_THE_FILE: Final[dict[str, Any]] = {"cleanup_socket": False}
"""From Python 3.13 on a process that stops accepting would take the path from all others."""
_SWEEP_INTERVAL_S: Final = 1.0
_LOOK_INTERVAL_S: Final = 0.01
_HANDSHAKE_S: Final = 0.002
"""A handshake that has begun ends in this time; a proxy is not further away. Who begins one in it
waits for 1 s, until TCP tries again, so that it must be short."""
_ON_ITS_WAY_S: Final = 0.1
"""And so does the way of the request behind it."""


class Listener:
    """Every open connection: makes them for the listening sockets, sweeps them once a second.

    With a fast lane put before it, aiohttp gets the connections that the fast lane hands over.
    """

    def __init__(
        self,
        server: web.Server,
        limits: Limits,
        metrics: Metrics,
        budget: Budget,
        requests: RequestLog | None = None,
    ) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is missing; its Python one is not safe enough")
        self._server = server
        self._limits = limits
        self._metrics = metrics
        self._options: dict[str, Any] = {
            "loop": asyncio.get_running_loop(),
            "budget": budget,
            "keyless": budget.part(),
            "requests": requests or RequestLog(),
            "keepalive_timeout": limits.idle_timeout_s,
            "access_log": None,
        }
        self._open: set[Connection] = set()
        self._fast_lane: FastLane | None = None
        self._listening: list[_Listening] = []
        self._crowd: Crowd | None = None
        self.refused_connections = 0
        """Those past the limit."""

    @property
    def open_connections(self) -> int:
        """How many connections there are."""
        return len(self._open) + (len(self._fast_lane.connections) if self._fast_lane else 0)

    @property
    def requests_in_flight(self) -> int:
        """How many requests are being handled."""
        handled = sum(not connection.is_idle for connection in self._open)
        if self._fast_lane is None:
            return handled
        return handled + sum(connection.is_waiting for connection in self._fast_lane.connections)

    def put_before(self, fast_lane: FastLane) -> None:
        """Have new connections served by the fast lane first."""
        self._fast_lane = fast_lane

    async def listen(self, bound: Sequence[socket.socket]) -> None:
        """Take connections on bound sockets, TCP or unix, from now on.

        They are this object's to close. Other processes may have each of them as well. Raises
        StartupError where another server has taken an address by now.
        """
        for each in bound:
            _listen(each)
            self._listening.append(_Listening(each, await self._serve(each)))

    async def _serve(self, bound: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if bound.family == socket.AF_UNIX:
            return await loop.create_unix_server(
                self, sock=bound, backlog=_BACKLOG, **_KEEPING_THE_FILE
            )
        return await loop.create_server(self, sock=bound, backlog=_BACKLOG)

    def share_limit(self, crowd: Crowd) -> None:
        """Have the limit be one of the whole server's."""
        self._crowd = crowd

    def _is_full(self) -> bool:
        """Whether there is no room: who has less than its even share need not ask the others."""
        count, limit = self.open_connections, self._limits.connections_max
        if self._crowd is None:
            return count >= limit
        return count >= limit // self._crowd.processes and self._crowd.note(count) >= limit

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol for a new connection."""
        fast_lane = self._fast_lane
        if self._is_full():
            self.refused_connections += 1
            return _Refused()
        return FastConnection(fast_lane) if fast_lane else self.make_connection()

    def make_connection(self) -> Connection:
        """Return a connection that aiohttp serves."""
        return Connection(self._server, self._metrics, self._open, **self._options)

    async def run(self) -> None:
        """Enforce for ever the time-outs of heads and of clients that don't read."""
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            if self._crowd is not None:
                self._crowd.note(self.open_connections)
            for connection in list(self._open):
                self._sweep(connection, time.monotonic())
            if self._fast_lane is not None:
                self._fast_lane.sweep()

    def _sweep(self, connection: Connection, now_s: float) -> None:
        connection.note_reading(now_s)
        if 0 < connection.stuck_since_s < now_s - self._limits.idle_timeout_s:
            connection.abort()
        elif 0 < connection.head_since_s < now_s - self._limits.head_timeout_s:
            connection.refuse_slow_head()

    async def stop_listening(self) -> None:
        """Take nobody in any more; who has connected is served, and nobody is reset.

        For a server that ends, and sockets that do: it changes them in whatever process they are.
        """
        await self._take_the_last()
        await self.pass_on()

    async def _take_the_last(self) -> None:
        """Keep further ones out, and accept all that have connected."""
        for each in self._listening:
            each.keep_out()
        if self._listening:
            await asyncio.sleep(_HANDSHAKE_S)
        for _ in range(_BACKLOG * len(self._listening)):
            if not any(handshakes.has_waiting(each.bound) for each in self._listening):
                break
            await asyncio.sleep(0)  # the loop accepts one at a time

    async def pass_on(self) -> None:
        """Take nobody in any more, and leave who waits to whoever has the same sockets.

        For a process that is replaced, or whose sockets are kept elsewhere: nobody is reset, and
        who has connected is served here.
        """
        listening, self._listening = self._listening, []
        for each in listening:
            each.server.close()
        if listening and self.open_connections:
            await asyncio.sleep(_ON_ITS_WAY_S)

    async def end_arrivals(self, timeout_s: float) -> None:
        """Wait for the rest of requests that have begun; those that take too long get their 408."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._arriving():  # noqa: ASYNC110 - no connection tells us when it is whole
                    await asyncio.sleep(_LOOK_INTERVAL_S)
        for connection in self._arriving():
            connection.refuse_incomplete()

    def _arriving(self) -> list[Connection]:
        if self._fast_lane is not None:
            self._fast_lane.hand_over_incomplete()
        return [connection for connection in self._open if connection.is_arriving]

    async def finish(self) -> None:
        """Wait until no request is being handled."""
        while not all(  # noqa: ASYNC110 - no connection tells us when it is idle
            connection.is_idle for connection in self._open
        ):
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._fast_lane.connections) if self._fast_lane else ():
            connection.close()
        await self._server.shutdown(timeout=0.1)


def _listen(bound: socket.socket) -> None:
    try:
        bound.listen(_BACKLOG)  # uvloop does it as well, and tells nobody if it can't
    except OSError as error:
        host, port = bound.getsockname()[:2]  # nobody can take a path
        raise StartupError(f"can't listen on {bracketed(host)}:{port}: {error.strerror}") from error


class _Listening:
    """A socket that connections are taken from."""

    def __init__(self, bound: socket.socket, server: asyncio.Server) -> None:
        self.bound = bound
        self.server = server
        self._path = os.fsdecode(bound.getsockname()) if bound.family == socket.AF_UNIX else ""
        self._file = _identity(self._path)

    def keep_out(self) -> None:
        """Have whoever comes from now on be refused, or wait to be; in every process."""
        if not self._path:
            handshakes.drop_further(self.bound)
        elif self._file is not None and _identity(self._path) == self._file:
            # All processes of a server do this, and soon another server may have the path.
            Path(self._path).unlink(missing_ok=True)


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        return identity(path) if path else None
    except OSError:  # removed by somebody
        return None


class _Refused(asyncio.Protocol):
    """A connection past the limit: closed at once, before it can cost anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
