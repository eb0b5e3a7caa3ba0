"""The protocol underneath the routes: aiohttp's, with our errors, time-outs and half-close.

aiohttp 3.14 answers a malformed head in plain text, has no deadline for a head or a body, and drops
the answer of a client that closes its sending side. Here a malformed head has the one JSON shape, a
sweep a second enforces the time-out of heads, and a half-closed client gets its answer.
"""

import asyncio
import time
from typing import Any, Final

import structlog
from aiohttp import http_exceptions, http_parser, web
from aiohttp.web_protocol import RequestHandler

from ingest.config import Limits
from ingest.errors import Code, Refusal
from ingest.http.responses import refuse, refuse_raw
from ingest.observe.metrics import Books

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX: Final = 8190
"""The longest request line, and the longest header."""
HEADERS_MAX: Final = 64

_SWEEP_INTERVAL_S: Final = 1.0
_SLOW_HEAD = Refusal(Code.REQUEST_TIMEOUT, "The request's head did not arrive in time.")


class Connection(RequestHandler):
    """One connection, served by aiohttp."""

    __slots__ = ("_books", "head_since_s")

    def __init__(self, server: web.Server, books: Books, **options: Any) -> None:  # noqa: ANN401
        super().__init__(server, **options)
        self._books = books
        self.head_since_s = 0.0
        """When the head that is still incomplete began; 0 when there is none."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is being handled or waits to be."""
        return self._request_in_progress or bool(self._messages)

    def data_received(self, data: bytes) -> None:
        """Parse; note when an incomplete head began."""
        super().data_received(data)
        if self.is_busy:
            self.head_since_s = 0.0
        elif not self.head_since_s:
            self.head_since_s = time.monotonic()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the sending side open while an answer is due, then close."""
        if not self.is_busy:
            return False
        self.close()
        return True

    def refuse_slow_head(self) -> None:
        """Answer 408 and close."""
        if self.transport is None:
            return
        self.transport.write(refuse_raw(_SLOW_HEAD))
        self._books.requests[_SLOW_HEAD.status] += 1
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote what was sent
    ) -> web.StreamResponse:
        """Answer what aiohttp itself refuses: a malformed head, or a failure outside a handler."""
        if isinstance(exc, http_exceptions.LineTooLong):
            refusal = Refusal(
                Code.HEADERS_TOO_LARGE,
                f"The request line and each header may have {HEAD_BYTES_MAX} bytes at most.",
            )
        elif status < 500:  # noqa: PLR2004 - the class of server errors
            refusal = Refusal(Code.BAD_REQUEST, "The request is not well-formed HTTP.")
        else:
            log.error("a request failed", exc_info=exc)
            refusal = Refusal(Code.INTERNAL_ERROR, "The server failed; nothing was stored.")
        response = refuse(refusal)
        response.force_close()
        self._books.requests[refusal.status] += 1
        return response


class Connections:
    """Every open connection: makes them for the listening socket, sweeps them once a second."""

    def __init__(self, server: web.Server, limits: Limits, books: Books) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is missing; its Python one is not safe enough")
        self._server = server
        self._limits = limits
        self._books = books
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

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol for a new connection."""
        if len(self._server.connections) >= self._limits.connections_max:
            return _Refused()
        return Connection(self._server, self._books, **self._options)

    async def sweep(self) -> None:
        """Enforce the head time-out for ever."""
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            limit_s = time.monotonic() - self._limits.head_timeout_s
            for connection in self._open():
                if connection.head_since_s and connection.head_since_s < limit_s:
                    connection.refuse_slow_head()

    async def finish(self) -> None:
        """Wait until no request is being handled."""
        while any(  # noqa: ASYNC110 - no connection tells us when it is idle
            connection.is_busy for connection in self._open()
        ):
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close every connection."""
        await self._server.shutdown(timeout=0.1)

    def _open(self) -> list[Connection]:
        return [each for each in self._server.connections if isinstance(each, Connection)]


class _Refused(asyncio.Protocol):
    """A connection past the limit: closed at once, before it can cost anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
