"""A connection that aiohttp serves, with our errors, time-outs and half-close.

aiohttp 3.14 answers a malformed head in plain text, forgets good requests that came in one piece
with it, has no deadline for a head or a body, and drops the answer of a client that closes its
sending side. Here a malformed head has the one JSON shape and costs nothing but itself, a sweep a
second enforces the time-outs of heads and of clients that don't read, and a half-closed client gets
its answers.
"""

import asyncio
import time
from typing import Any, Final, cast

import structlog
from aiohttp import hdrs, http_exceptions, web
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from ingest.errors import Code, Refusal
from ingest.http.arrival import Arrival
from ingest.http.budget import FREE_BYTES, Budget, Share
from ingest.http.responses import refuse, refuse_raw
from ingest.http.unsent import unsent_bytes
from ingest.observe.metrics import Metrics

log = structlog.get_logger(__name__)

HEAD_BYTES_MAX: Final = 8190
"""The longest request line, and the longest header."""
HEADERS_MAX: Final = 64
WHOLE_HEAD_BYTES_MAX: Final = 16_384
"""The longest head; 62 headers of 8 KB cost 1 MB on each of 10,000 connections, without a key."""
READ_BYTES: Final = 32_768
"""aiohttp stops reading a body of which twice as much waits for its handler."""

_SLOW_HEAD = Refusal(Code.REQUEST_TIMEOUT, "The request's head did not arrive in time.")


class Connection(RequestHandler):
    """One connection, served by aiohttp."""

    __slots__ = (
        "_arrival",
        "_arriving",
        "_body",
        "_body_bytes",
        "_is_answering",
        "_is_busy",
        "_is_closing_asked",
        "_is_half_closed",
        "_is_held_back",
        "_is_over",
        "_metrics",
        "_others",
        "_own_transport",
        "_unsent_bytes",
        "head_since_s",
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
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(server, read_bufsize=READ_BYTES, **options)
        self._parser = _parser_of(self)
        self.held = Share(budget)
        """What the request being handled holds, until its answer is sent."""
        self.page = Share(keyless)
        """The same of an answer that anybody may ask for."""
        self._arrival = Arrival()
        self._arriving = Share(keyless)
        self._metrics = metrics
        self._others = others
        self._own_transport: asyncio.Transport | None = None  # aiohttp forgets its own early
        self.head_since_s = 0.0
        """When the head that is still incomplete began; 0 when there is none."""
        self.stuck_since_s = 0.0
        """When the client last took something of the answers that wait for it; 0 if none do."""
        self._unsent_bytes = 0
        """What waited when that was last looked at."""
        self._body: StreamReader = EMPTY_PAYLOAD
        """That of the newest request, while it is incomplete."""
        self._body_bytes: int | None = None
        """How long it is; None if only its end will tell."""
        self._is_busy = False
        """Whether there is a request that is not answered."""
        self._is_answering = False
        """Whether an answer is being sent."""
        self._is_held_back = False
        """Whether reading is paused until a request is answered."""
        self._is_closing_asked = False
        """Whether that request is the last that its client means to send."""
        self._is_half_closed = False
        self._is_over = False
        """Whether nothing more is parsed."""

    @property
    def is_last(self) -> bool:
        """Whether the request being handled is the last that this connection can bring."""
        return self._is_half_closed and not self._messages and not self._arrival

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
        # An answer is sent when all of it is: what is left of it holds the whole.
        self._own_transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the open connections."""
        self._own_transport = None
        self._others.discard(self)
        self._forget_arrival()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed now; aiohttp gives nothing to go on with a body."""
        if self._is_over:
            return
        if data:
            self._arrival.add(data)
        else:
            self._parse(b"")
        self._go_on()

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

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the sending side open while answers are due, then close."""
        if self.is_idle:
            return False
        self._is_half_closed = True
        self._go_on()
        if self.is_last:
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
        self._is_answering = True
        _drop(request.content)
        try:
            if size > FREE_BYTES:
                # Or aiohttp joins the two, and the transport holds another copy of the body.
                await resp.prepare(request)
                request.writer.send_headers()
            return await super().finish_response(request, resp, start_time)
        finally:
            self.held.count(0)
            self.page.count(0)
            self._is_busy = self._is_answering = False
            self._go_on()

    def _resume_transport_reading(self) -> None:
        if not self._is_held_back:
            super()._resume_transport_reading()

    def _go_on(self) -> None:
        """Parse what may be parsed; count the rest, and read no more until it is less."""
        while self._may_parse and self._parse_piece():
            pass
        if self._is_over:
            return
        self._hold()
        if self._is_half_closed and not self._arrival and not self._reading_paused:
            self._end_body()
            if self.is_last and not self._is_busy:
                self.close()
        self._note_head()

    @property
    def _may_parse(self) -> bool:
        return not (self._is_over or self._reading_paused or self._close or self._force_close)

    def _parse_piece(self) -> bool:
        """Parse a piece of a body, or of a head if nothing waits for an answer; return if so."""
        if not self._body.is_eof():
            return self._parse_body()
        if self._is_busy or self._messages:
            return False
        return self._parse_head()

    def _note_head(self) -> None:
        """Note when an incomplete head began."""
        if not self._arrival.held_bytes or self._is_busy:
            self.head_since_s = 0.0
        elif not self.head_since_s:
            self.head_since_s = time.monotonic()

    def _parse_head(self) -> bool:
        """Parse more of a head; return whether there was any."""
        head = self._arrival.take_head(WHOLE_HEAD_BYTES_MAX)
        if head:
            self._parse(head)
        if self._arrival.head_bytes > WHOLE_HEAD_BYTES_MAX and not self._is_over:
            self._refuse_rest(_too_large_head())
        return bool(head)

    def _parse_body(self) -> bool:
        """Parse more of a body, or drop it if its request has its answer; return if there was any.

        What stands between two bytes of a chunked one, or behind the last, is bounded as a head is.
        """
        body, known_bytes = self._body, self._body.total_bytes
        left = None if self._body_bytes is None else self._body_bytes - known_bytes
        piece = self._arrival.take_body(left)
        if not piece:
            return False
        self._parse(piece)
        if left is None:
            self._count_framing(piece, body, known_bytes)
        if self._is_answering:
            _drop(body)
        return True

    def _count_framing(self, piece: bytes, body: StreamReader, known_bytes: int) -> None:
        if body.total_bytes > known_bytes or body.is_eof():
            self._arrival.end_head()
        else:
            self._arrival.count_head(piece)
        if body.is_eof() and not piece.endswith(b"\r\n\r\n"):
            self._arrival.count_parsed(piece)  # the next head may have begun in it
        if self._arrival.head_bytes > WHOLE_HEAD_BYTES_MAX:
            self._refuse_rest(_too_large_head())

    def _hold(self) -> None:
        """Count what has arrived and waits, and read no more until it does not."""
        if self._body.is_eof() or self._is_answering:
            try:
                self._arriving.resize(self._arrival.held_bytes)
            except Refusal as refusal:
                self._refuse_rest(refusal.anew())
                return
        else:
            # Its handler is about to read it.
            self._arriving.count(self._arrival.held_bytes)
        is_waiting = bool(self._arrival)
        if is_waiting and not self._is_held_back:
            self._is_held_back = True
            self._pause_transport_reading()
        elif self._is_held_back and not is_waiting:
            self._is_held_back = False
            if not self._reading_paused and not self._buffer_paused:
                self._resume_transport_reading()

    def _forget_arrival(self) -> None:
        """Let go of what is not parsed; what comes behind it is read and dropped."""
        self._is_over = True
        self._arrival.clear()
        self._arriving.count(0)
        if self._is_held_back:
            self._is_held_back = False
            self._resume_transport_reading()

    def _parse(self, data: bytes) -> None:
        """Parse request after request, until there are no more or enough of them wait."""
        is_more = True
        while is_more:
            parsed = self._request_count
            self._parse_next(data)
            self._is_busy |= self._request_count > parsed
            is_more = bool(data or self._message_tail) or self._request_count > parsed
            is_more = is_more and not self._is_over and not self._reading_paused
            is_more = is_more and len(self._messages) < self._max_msg_queue_size
            data = b""

    def _parse_next(self, data: bytes) -> None:
        """Parse to the end of one request at most; the parser keeps what is behind it."""
        tail, self._message_tail = self._message_tail, b""
        try:
            super().data_received(tail + data)
            self._require_known_length()
        except Exception as error:  # noqa: BLE001 - whatever a hostile head makes a parser raise
            self._refuse_rest(error)
        if self._upgraded:
            self._decline_upgrade()
        if self._messages:
            head, body = self._messages[-1]
            if isinstance(head, _ErrInfo):
                self._end_reading(head.exc)
            else:
                self._body, self._is_closing_asked = body, head.should_close
                length = head.headers.get(hdrs.CONTENT_LENGTH)
                self._body_bytes = None if length is None or head.chunked else int(length)
        if self._body.is_eof():
            self._body = EMPTY_PAYLOAD
            # Whatever a client sends behind its last request is ignored (RFC 9112, 9.6).
            self._is_over |= self._is_closing_asked

    def _require_known_length(self) -> None:
        """Raise for a request whose end nobody knows (RFC 9112, 6.3).

        aiohttp 3.14 takes an empty Transfer-Encoding for none, and the body for the next request.
        """
        head = self._messages[-1][0] if self._messages else None
        if not isinstance(head, RawRequestMessage) or head.chunked:
            return
        if hdrs.TRANSFER_ENCODING in head.headers:
            self._messages.pop()
            raise http_exceptions.BadHttpMessage("an empty Transfer-Encoding")

    def _decline_upgrade(self) -> None:
        """Go on with HTTP/1.1 behind a request for another protocol: what is there is a tail."""
        self._upgraded = False
        if self._parser is not None:
            self._parser.set_upgraded(False)

    def _refuse_rest(self, error: Exception) -> None:
        """Answer a head that made the parser itself fail, or us, as any other malformed one.

        yarl raises IndexError for the target http://[v1.x]@, and aiohttp 3.14 lets it through.
        """
        self._messages.append((_ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD))
        self._request_count += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._end_reading(error)

    def _end_reading(self, error: BaseException) -> None:
        """Behind a malformed head nothing can be understood, so nothing more is parsed.

        The error's traceback goes: it holds what was received, in a cycle that a thousand 1 MiB
        heads made 2 GB of before it was collected.
        """
        self._forget_arrival()
        self._parser = None  # with what it holds
        self._end_body()
        reason: BaseException | None = error
        while reason is not None:
            reason.__traceback__ = None
            reason = reason.__context__

    def _end_body(self) -> None:
        """Tell a handler that waits for more of a body that no more will come."""
        if not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("the body is malformed or incomplete"))

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
            refusal = _too_large_head()
        elif status < 500:  # noqa: PLR2004 - the class of server errors
            refusal = Refusal(Code.BAD_REQUEST, "The request is not well-formed HTTP.")
        else:
            log.error("a request failed", exc_info=exc)
            refusal = Refusal(Code.INTERNAL_ERROR, "The server failed; nothing was stored.")
        response = refuse(refusal)
        response.force_close()
        self._metrics.answers[refusal.status] += 1
        return response


def _parser_of(connection: Connection) -> HttpRequestParser:
    """Return a parser that stops behind each request.

    aiohttp's own stops behind 32. Of a piece in which something is malformed a parser returns
    nothing, so the good requests in front of it would be lost.
    """
    return HttpRequestParser(
        connection,
        asyncio.get_running_loop(),
        connection._read_bufsize,  # noqa: SLF001 - as aiohttp makes its own
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
        max_headers=HEADERS_MAX,
        payload_exception=web.RequestPayloadError,
        # Inflating after a 413 blocked the loop for 3.3 s (three bodies of 1 MB).
        auto_decompress=False,
        max_msg_queue_size=1,
    )


def held_of(request: web.BaseRequest) -> Share:
    """Return what a request holds until its answer is sent."""
    return cast("Connection", request.protocol).held


def body_bytes(response: web.StreamResponse) -> int:
    """Return the size of an answer's body; ours are all bytes."""
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes) else 0


def _drop(body: StreamReader) -> None:
    """Let go of what is left of a body whose request is being answered."""
    if body.exception() is None:
        body.read_nowait()


def _too_large_head() -> Refusal:
    return Refusal(
        Code.HEADERS_TOO_LARGE,
        f"The request line and each header may have {HEAD_BYTES_MAX} bytes at most, all together "
        f"{WHOLE_HEAD_BYTES_MAX}, and there may be {HEADERS_MAX} headers.",
    )


def _is_too_many(exc: BaseException | None) -> bool:
    # aiohttp has no class for it, only this text.
    return isinstance(exc, http_exceptions.BadHttpMessage) and exc.message.startswith("Too many")
