"""The load client: raw protocols on uvloop, requests built ahead, answers framed and no more.

A connection has one request on its way at a time. In a closed loop it sends the next one with the
answer to the last. In an open loop requests are due at fixed times, whatever the server does: a
free connection sends each as it falls due; with none free it waits its turn, and its latency counts
from when it was due, so that a stall shows in every request that it delayed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import cast

from bench.load.http import AnswerError, Head, Heads, check_unfinished
from bench.load.ledger import ID_CHARS
from bench.load.plan import is_success
from bench.load.tally import Tally, Usual
from bench.load.ticker import Ticker

ID_MARK = b'"id":"'
_EMPTY_LINE_BYTES = 4
_OK = 200
_CONNECT_TIMEOUT_S = 30.0
_DRAIN_POLL_S = 0.005
_RECONNECT_S = 0.1
_TICK_S_MIN = 0.0002

clock = time.perf_counter


class Connection(asyncio.Protocol):
    """One connection in a closed loop."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.tally = load.tally
        self.requests = load.requests
        self.heads = load.heads
        self.usual = load.usual
        self.known_heads = load.heads.known
        self.order = load.order
        self.transport: asyncio.Transport | None = None
        self.index = -1
        """Which request is on its way; -1 for none."""
        self.due_s = 0.0
        self.answers = 0
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait to be started."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop has classes of its own
        if self.load.is_running:
            self.start()

    def start(self) -> None:
        """Send the first request."""
        self.send(clock())

    def send(self, due_s: float) -> None:
        """Send the next request, which was due at `due_s`."""
        index = self.index = next(self.order)
        self.due_s = due_s
        self.transport.write(self.requests[index])  # type: ignore[union-attr] # connected

    def data_received(self, data: bytes) -> None:
        """Take an answer and go on with the next request.

        Nearly all answers are alike: a 200 with the head and the size of the last one. They are
        recognized, not parsed, and in one piece: the client's cost per request is mostly this.
        """
        usual = self.usual
        if (
            len(data) != usual.answer_bytes
            or not data.startswith(usual.head)
            or self.rest
            or self.index < 0
        ):
            self._take_unusual(data)
            return
        now_s = clock()
        due_s = self.due_s
        tally = self.tally
        if due_s >= tally.measuring_since_s:
            tally.due_s.append(due_s)
            tally.took_s.append(now_s - due_s)
        self.answers += 1
        if tally.keeps_ids:
            self._keep_id(data, len(usual.head))
        self.go_on(now_s)

    def _take_unusual(self, data: bytes) -> None:
        """Frame an answer; keep one that is incomplete."""
        if self.rest:
            data = self.rest + data
        end = data.find(b"\r\n\r\n") + 4
        head = self.known_heads.get(data[:end]) or self._parse_head(data, end)
        if head is None or len(data) < end + head.body_bytes:
            self.rest = data
            return
        now_s = clock()
        if self.due_s >= self.tally.measuring_since_s:
            self.tally.due_s.append(self.due_s)
            self.tally.took_s.append(now_s - self.due_s)
        self.answers += 1
        if head.status != _OK:
            self._take_other(head.status, data, end)
        else:
            self.usual.head, self.usual.answer_bytes = data[:end], end + head.body_bytes
            if self.tally.keeps_ids:
                self._keep_id(data, end)
        if self.rest or len(data) != end + head.body_bytes or self.index < 0:
            self._take_odd(data[end + head.body_bytes :])
        self.go_on(now_s)

    def go_on(self, now_s: float) -> None:
        """Send the next request, unless the run is over."""
        if self.load.is_running:
            self.send(now_s)
        else:
            self.index = -1

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the request that was on its way, and connect anew."""
        del exc
        self.transport = None
        self.rest = b""
        if self.index >= 0:
            self.index = -1
            self.tally.lost += 1
        self.load.reconnect(self)

    def _keep_id(self, data: bytes, end: int) -> None:
        at = data.find(ID_MARK, end) + len(ID_MARK)
        # An answer without an id leaves something that is none, which the audit reports.
        self.tally.ids += data[at : at + ID_CHARS].ljust(ID_CHARS)
        self.tally.payloads.append(self.index)

    def _take_other(self, status: int, data: bytes, end: int) -> None:
        self.tally.other_statuses.append(status)
        if is_success(status) and self.tally.keeps_ids:
            self._keep_id(data, end)

    def _take_odd(self, surplus: bytes) -> None:
        self.rest = b""
        if surplus or self.index < 0:
            self._break(f"an answer that nobody asked for: {surplus[:200]!r}")

    def _parse_head(self, data: bytes, end: int) -> Head | None:
        try:
            if end < _EMPTY_LINE_BYTES:  # not found
                check_unfinished(data)
                return None
            return self.heads.parse(data[:end])
        except AnswerError as error:
            self._break(str(error))
            return None

    def _break(self, why: str) -> None:
        self.tally.broken = self.tally.broken or why


class OpenConnection(Connection):
    """One connection in an open loop: free until a request falls due."""

    def start(self) -> None:
        """Wait for work, or take what is overdue."""
        self.go_on(clock())

    def go_on(self, now_s: float) -> None:
        """Send what has waited longest; with nothing waiting, be free."""
        del now_s
        backlog = self.load.backlog
        if backlog:
            self.send(backlog.popleft())
        else:
            self.index = -1
            self.load.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be free no more."""
        if self.index < 0 and self in self.load.free:
            self.load.free.remove(self)
        super().connection_lost(exc)


class Load:
    """All connections of one process and the time at which each request is due."""

    def __init__(
        self,
        address: tuple[str, int],
        requests: list[bytes],
        rate: float,
        tally: Tally,
        closed: Callable[["Load"], Connection] = Connection,
    ) -> None:
        self._kind = OpenConnection if rate else closed
        self.requests = requests
        self.order = cycle(range(len(requests)))
        """Which request is sent next, on whichever connection."""
        self.tally = tally
        self.heads = Heads()
        self.usual = Usual()
        self.is_running = False
        self.backlog: deque[float] = deque()
        """Open loop: when requests that still wait for a connection were due."""
        self.free: deque[Connection] = deque()
        self.connections: list[Connection] = []
        self._address = address
        self._rate = rate
        self._start_s = 0.0
        self._end_s = 0.0
        self._due = 0
        self._ticker = Ticker(self._tick) if rate else None
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, connections: int) -> None:
        """Open all connections; raise OSError or TimeoutError."""
        self.connections = [self._kind(self) for _ in range(connections)]
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            for connection in self.connections:
                await self._connect(connection)

    def start(self, start_s: float, end_s: float) -> None:
        """Begin; in an open loop the first request is due at `start_s`, none from `end_s` on."""
        self._start_s, self._end_s = start_s, end_s
        self.is_running = True
        for connection in self.connections:
            if connection.transport is not None:
                connection.start()
        if self._ticker is not None:
            self._tick()

    async def finish(self, drain_s: float) -> None:
        """Send nothing new and wait for the answers on their way, for so long at most."""
        self.is_running = False
        end_s = clock() + drain_s
        # Asked now and then: an event set by the last answer would cost every answer.
        while self._is_waiting() and clock() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)

    def close(self) -> None:
        """Close every connection."""
        if self._ticker is not None:
            self._ticker.close()
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()

    def waiting_s(self) -> list[float]:
        """Return when each request was due that is on its way."""
        return [each.due_s for each in self.connections if each.index >= 0]

    def reconnect(self, connection: Connection) -> None:
        """Connect anew while the run goes on."""
        if self.is_running:
            task = self._loop.create_task(self._reconnect(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reconnect(self, connection: Connection) -> None:
        while self.is_running and connection.transport is None:
            await asyncio.sleep(_RECONNECT_S)
            with suppress(OSError):
                await self._connect(connection)

    async def _connect(self, connection: Connection) -> None:
        await self._loop.create_connection(lambda: connection, *self._address)

    def _tick(self) -> None:
        """Hand out every request that is due, and come back for the next one."""
        now_s = clock()
        while True:
            due_s = self._start_s + self._due / self._rate
            if due_s > now_s or due_s >= self._end_s:
                break
            self._due += 1
            self._send(due_s)
        if due_s < self._end_s and self._ticker is not None:
            self._ticker.arm(max(due_s, now_s + _TICK_S_MIN))

    def _is_waiting(self) -> bool:
        on_their_way = (connection.index >= 0 for connection in self.connections)
        return not self.tally.broken and (bool(self.backlog) or any(on_their_way))

    def _send(self, due_s: float) -> None:
        free = self.free
        while free:
            connection = free.popleft()
            if connection.transport is not None and not connection.transport.is_closing():
                connection.send(due_s)
                break
        else:
            self.backlog.append(due_s)
        if due_s >= self.tally.measuring_since_s:
            self.tally.lag_s.append(clock() - due_s)
