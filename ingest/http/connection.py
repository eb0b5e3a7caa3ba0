"""A connection that aiohttp serves, with our errors, time-outs and half-close.

aiohttp 3.14 answers a malformed head in plain text, has no deadline for a head or a body, and drops
the answer of a client that closes its sending side. Here a malformed head has the one JSON shape, a
sweep a second enforces the time-outs of heads and of clients that don't read, and a half-closed
client gets its answers.
"""

import asyncio
import time
from typing import Any, Final, cast

import structlog
from aiohttp import http_exceptions, web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from ingest.errors import Code, Refusal
from ingest.http.responses import refuse, refuse_raw
from ingest.observe.metrics import Metrics

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX: Final = 8190
"""The longest request line, and the longest header."""
HEADERS_MAX: Final = 64

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
        """Join the open connections, which the listener sweeps."""
        self._own_transport = cast("asyncio.Transport", transport)
        self._others.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the open connections."""
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
        self._metrics.answers[_SLOW_HEAD.status] += 1
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
        self._metrics.answers[refusal.status] += 1
        return response


def _is_too_many(exc: BaseException | None) -> bool:
    # aiohttp has no class for it, only this text.
    return isinstance(exc, http_exceptions.BadHttpMessage) and exc.message.startswith("Too many")
