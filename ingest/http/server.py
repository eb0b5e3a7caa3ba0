"""The protocol underneath the routes: aiohttp's, with our errors, time-outs and half-close.

aiohttp 3.14 answers a malformed head in plain text, has no deadline for a head or a body, and drops
the answer of a client that closes its sending side. Here a malformed head has the one JSON shape, a
sweep a second enforces the time-outs of heads and of clients that don't read, and a half-closed
client gets its answers.
"""

import asyncio
import time
from typing import Any, Final, cast

import structlog
from aiohttp import http_exceptions, http_parser, web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from ingest.config import Limits
from ingest.errors import Code, Refusal
from ingest.http.fastlane import FastConnection, FastLane
from ingest.http.responses import refuse, refuse_raw
from ingest.observe.metrics import Metrics

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX: Final = 8190
"""The longest request line, and the longest header."""
HEADERS_MAX: Final = 64

_SWEEP_INTERVAL_S: Final = 1.0
_SLOW_HEAD = Refusal(Code.REQUEST_TIMEOUT, "The request's head did not arrive in time.")


class Connection(RequestHandler):
    """One connection, served by aiohttp."""

    __slots__ = (
        "_is_half_closed",
        "_is_refused",
        "_metrics",
        "_others",
        "_own_transport",
        "head_since_s",
        "stuck_since_s",
    )

    def __init__(
        self,
        server: web.Server,
        metrics: Metrics,
        others: set["Connection"],
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(server, **options)
        self._metrics = metrics
        self._others = others
        self._own_transport: asyncio.Transport | None = None  # aiohttp forgets its own early
        self.head_since_s = 0.0
        """When the head that is still incomplete began; 0 when there is none."""
        self.stuck_since_s = 0.0
        """When the client stopped reading its answers; 0 while it reads them."""
        self._is_half_closed = False
        self._is_refused = False

    @property
    def is_last(self) -> bool:
        """Whether the request being handled is the last that this connection can bring."""
        return self._is_half_closed and not self._messages

    @property
    def is_idle(self) -> bool:
        """Whether no request is being handled or waits to be."""
        # aiohttp waits on `_waiter` for the next head, and for nothing else; a first piece may come
        # before it does.
        return not self._messages and (self._waiter is not None or not self._request_count)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the open connections."""
        self._own_transport = cast("asyncio.Transport", transport)
        self._others.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave them."""
        self._own_transport = None
        self._others.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; note when an incomplete head began."""
        if self._is_refused:
            return
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - whatever a hostile head makes a parser raise
            self._refuse_rest(error)
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._end_reading(self._messages[-1][0].exc)
        if not self.is_idle:
            self.head_since_s = 0.0
        elif data and not self.head_since_s:
            self.head_since_s = time.monotonic()

    def pause_writing(self) -> None:
        """Note when the client stopped reading."""
        super().pause_writing()
        self.stuck_since_s = time.monotonic()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        super().resume_writing()
        self.stuck_since_s = 0.0

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the sending side open while answers are due, then close."""
        if self.is_idle:
            return False
        self._is_half_closed = True
        self._end_body()
        if not self._messages:
            self.close()
        return True

    def close_behind_answer(self) -> None:
        """Close once the current request is answered, whatever is left of its body."""
        self._lingering_time = 0.0
        self.close()

    def refuse_slow_head(self) -> None:
        """Answer 408 and close."""
        if self.transport is None:
            return
        self.transport.write(refuse_raw(_SLOW_HEAD, is_last=True))
        self._metrics.requests[_SLOW_HEAD.status] += 1
        self.force_close()

    def is_closing(self) -> bool:
        """Whether it is closed but for bytes that the client has yet to read."""
        return self._own_transport is not None and self._own_transport.is_closing()

    def abort(self) -> None:
        """Close at once, without sending what a client does not read."""
        if self._own_transport is not None:
            self._own_transport.abort()

    def _refuse_rest(self, error: Exception) -> None:
        """Answer a head that made the parser itself fail as any other malformed one.

        yarl raises IndexError for the target http://[v1.x]@, and aiohttp 3.14 lets it through.
        """
        self._messages.append((_ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end_reading(self, error: BaseException) -> None:
        """Behind a malformed head nothing can be understood, so nothing more is parsed.

        The error's traceback goes: it holds what was received, in a cycle that a thousand 1 MiB
        heads made 2 GB of before it was collected.
        """
        self._is_refused = True
        self._end_body()
        reason: BaseException | None = error
        while reason is not None:
            reason.__traceback__ = None
            reason = reason.__context__

    def _end_body(self) -> None:
        """Tell a handler that waits for more of a body that no more will come."""
        requests = [body for head, body in self._messages if not isinstance(head, _ErrInfo)]
        if requests:
            body = requests[-1]
        elif self._current_request is not None:
            body = self._current_request.content
        else:
            return
        if not body.is_eof():
            body.set_exception(web.RequestPayloadError("the body is malformed or incomplete"))

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote what was sent
    ) -> web.StreamResponse:
        """Answer what aiohttp itself refuses: a malformed head, or a failure outside a handler."""
        if isinstance(exc, http_exceptions.LineTooLong) or _is_too_many(exc):
            refusal = Refusal(
                Code.HEADERS_TOO_LARGE,
                f"The request line and each header may have {HEAD_BYTES_MAX} bytes at most, "
                f"and there may be {HEADERS_MAX} headers.",
            )
        elif status < 500:  # noqa: PLR2004 - the class of server errors
            refusal = Refusal(Code.BAD_REQUEST, "The request is not well-formed HTTP.")
        else:
            log.error("a request failed", exc_info=exc)
            refusal = Refusal(Code.INTERNAL_ERROR, "The server failed; nothing was stored.")
        response = refuse(refusal)
        response.force_close()
        self._metrics.requests[refusal.status] += 1
        return response


def _is_too_many(exc: BaseException | None) -> bool:
    # aiohttp has no class for it, only this text.
    return isinstance(exc, http_exceptions.BadHttpMessage) and exc.message.startswith("Too many")


class Connections:
    """Every open connection: makes them for the listening socket, sweeps them once a second.

    With a fast lane put before it, aiohttp gets the connections that the fast lane hands over.
    """

    def __init__(self, server: web.Server, limits: Limits, metrics: Metrics) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is missing; its Python one is not safe enough")
        self._server = server
        self._limits = limits
        self._metrics = metrics
        self._options: dict[str, Any] = {
            "loop": asyncio.get_running_loop(),
            "keepalive_timeout": limits.idle_timeout_s,
            "access_log": None,
            "max_line_size": HEAD_BYTES_MAX,
            "max_field_size": HEAD_BYTES_MAX,
            "max_headers": HEADERS_MAX,
            # Inflating after a 413 blocked the loop for 3.3 s (three bodies of 1 MB).
            "auto_decompress": False,
        }
        self._open: set[Connection] = set()
        self._fast_lane: FastLane | None = None

    def put_before(self, fast_lane: FastLane) -> None:
        """Have new connections served by the fast lane first."""
        self._fast_lane = fast_lane

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol for a new connection."""
        fast_lane = self._fast_lane
        fast = len(fast_lane.connections) if fast_lane else 0
        if fast + len(self._open) >= self._limits.connections_max:
            return _Refused()
        return FastConnection(fast_lane) if fast_lane else self.make_connection()

    def make_connection(self) -> Connection:
        """Return a connection that aiohttp serves."""
        return Connection(self._server, self._metrics, self._open, **self._options)

    async def run(self) -> None:
        """Enforce for ever the time-outs of heads and of clients that don't read."""
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            for connection in list(self._open):
                self._sweep(connection, time.monotonic())
            if self._fast_lane is not None:
                self._fast_lane.sweep()

    def _sweep(self, connection: Connection, now_s: float) -> None:
        if connection.is_closing() and not connection.stuck_since_s:
            connection.stuck_since_s = now_s
        if 0 < connection.stuck_since_s < now_s - self._limits.idle_timeout_s:
            connection.abort()
        elif 0 < connection.head_since_s < now_s - self._limits.head_timeout_s:
            connection.refuse_slow_head()

    async def finish(self) -> None:
        """Wait until no request is being handled."""
        while not all(  # noqa: ASYNC110 - no connection tells us when it is idle
            connection.is_idle for connection in self._open
        ):
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._fast_lane.connections) if self._fast_lane else ():
            connection.close()
        await self._server.shutdown(timeout=0.1)


class _Refused(asyncio.Protocol):
    """A connection past the limit: closed at once, before it can cost anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
