"""A connection that aiohttp serves, with our errors and time-outs.

aiohttp 3.14 answers a malformed head in plain text, and has no deadline for a head or a client that
does not read. Here a malformed head has the one JSON shape, a sweep a second enforces the time-outs
of heads and of clients that don't read, and an answer is counted until all of it is sent.
"""

import asyncio
import time
from typing import Any, cast

import structlog
from aiohttp import http_exceptions, web
from aiohttp.payload import Payload

from ingest.errors import Code, Refusal
from ingest.http.budget import FREE_BYTES, Budget, Share
from ingest.http.pipeline import Pipeline, too_large_head
from ingest.http.request_log import OTHER, RequestLog
from ingest.http.responses import refuse, refuse_raw
from ingest.http.unsent import unsent_bytes
from ingest.observe.metrics import OTHER_ROUTE, Metrics

log = structlog.get_logger(__name__)

_SLOW_HEAD = Refusal(Code.REQUEST_TIMEOUT, "The request's head did not arrive in time.")


class Connection(Pipeline):
    """One connection, served by aiohttp."""

    __slots__ = (
        "_metrics",
        "_others",
        "_own_transport",
        "_requests",
        "_unsent_bytes",
        "held",
        "page",
        "stuck_since_s",
    )

    def __init__(
        self,
        server: web.Server,
        metrics: Metrics,
        others: set["Connection"],
        budget: Budget,
        keyless: Budget,
        requests: RequestLog,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(server, keyless, **options)
        self.held = Share(budget)
        """What the request being handled holds, until its answer is sent."""
        self.page = Share(keyless)
        """What an answer holds that anybody may ask for, until it is sent; and a body, until its
        key is found in it."""
        self._metrics = metrics
        self._requests = requests
        self._others = others
        self._own_transport: asyncio.Transport | None = None  # aiohttp forgets its own early
        self.stuck_since_s = 0.0
        """When the client last took something of the answers that wait for it; 0 if none do."""
        self._unsent_bytes = 0
        """What waited when that was last looked at."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the open connections, which the listener sweeps."""
        self._own_transport = cast("asyncio.Transport", transport)
        self._others.add(self)
        super().connection_made(transport)
        # An answer is sent when all of it is: what is left of it holds the whole.
        self._own_transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the open connections."""
        self._own_transport = None
        self._others.discard(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Note that answers wait for the client to read them."""
        super().pause_writing()
        self._note_stuck(time.monotonic())

    def resume_writing(self) -> None:
        """Note that none do any more."""
        super().resume_writing()
        self.stuck_since_s = 0.0

    def note_reading(self, now_s: float) -> None:
        """Once a second: see whether the client took something of the answers that wait for it."""
        transport = self._own_transport
        if transport is None:
            return
        if not self.stuck_since_s and transport.is_closing():
            self._note_stuck(now_s)
        if self.stuck_since_s:
            last_bytes, self._unsent_bytes = self._unsent_bytes, unsent_bytes(transport)
            if self._unsent_bytes < last_bytes:
                self.stuck_since_s = now_s

    def _note_stuck(self, now_s: float) -> None:
        self.stuck_since_s = now_s
        self._unsent_bytes = 0

    def _process_keepalive(self) -> None:
        """Close an idle connection; a head that has begun has a time-out of its own, and a 408."""
        if self.head_since_s:
            self._keepalive_handle = None  # aiohttp sets another one behind the answer
        else:
            super()._process_keepalive()

    def close_behind_answer(self) -> None:
        """Close once the current request is answered, whatever is left of its body."""
        self._lingering_time = 0.0
        self.close()

    def refuse_slow_head(self) -> None:
        """Answer 408 and close."""
        if self.transport is None:
            return
        self.transport.write(refuse_raw(_SLOW_HEAD, is_last=True))
        self._metrics.answers[OTHER_ROUTE, _SLOW_HEAD.status] += 1
        self._note(_SLOW_HEAD)
        self.force_close()

    def refuse_incomplete(self) -> None:
        """Answer 408, and close, if the request that arrives is not whole yet."""
        if self.head_since_s:
            self.refuse_slow_head()
        else:
            self._end_body(TimeoutError())

    def abort(self) -> None:
        """Close at once, without sending what a client does not read."""
        if self._own_transport is not None:
            self._own_transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; it is held until all of it is sent, and then the next request begins."""
        size = body_bytes(resp)
        self.held.count(0 if self.page.size else size)
        self._begin_answer()
        try:
            if size > FREE_BYTES:
                # Or aiohttp joins the two, and the transport holds another copy of the body.
                await resp.prepare(request)
                request.writer.send_headers()
            return await super().finish_response(request, resp, start_time)
        finally:
            self.held.count(0)
            self.page.count(0)
            self._end_answer()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote what was sent
    ) -> web.StreamResponse:
        """Answer what aiohttp itself refuses: a malformed head, or a failure outside a handler."""
        if isinstance(exc, Refusal):
            refusal = exc
        elif isinstance(exc, http_exceptions.LineTooLong) or _is_too_many(exc):
            refusal = too_large_head()
        elif status < 500:  # noqa: PLR2004 - the class of server errors
            refusal = Refusal(Code.BAD_REQUEST, "The request is not well-formed HTTP.")
        else:
            log.error("a request failed", exc_info=exc)
            refusal = Refusal(Code.INTERNAL_ERROR, "The server failed; nothing was stored.")
        response = refuse(refusal)
        response.force_close()
        self._metrics.answers[OTHER_ROUTE, refusal.status] += 1
        self._note(refusal)
        return response

    def _note(self, refusal: Refusal) -> None:
        """Log what came of a head that nobody understands."""
        self._requests.note(OTHER, OTHER, refusal.status, code=refusal.code)


def held_of(request: web.BaseRequest) -> Share:
    """Return what a request holds until its answer is sent."""
    return cast("Connection", request.protocol).held


def keyless_of(request: web.BaseRequest) -> Share:
    """Return what a request holds that has shown no key yet."""
    return cast("Connection", request.protocol).page


def body_bytes(response: web.StreamResponse) -> int:
    """Return the size of an answer's body; all of ours know it."""
    body = response.body if isinstance(response, web.Response) else None
    size = body.size if isinstance(body, Payload) else len(body or b"")
    return size or 0


def _is_too_many(exc: BaseException | None) -> bool:
    # aiohttp has no class for it, only this text.
    return isinstance(exc, http_exceptions.BadHttpMessage) and exc.message.startswith("Too many")
