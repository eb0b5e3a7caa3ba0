"""A pipeline: the requests of one connection, given to aiohttp's parser one by one.

1. A request is parsed once the one in front of it is answered, so a malformed one costs nothing
   but itself. aiohttp 3.14 parses 32 ahead, and forgets the good ones that came in one piece with a
   malformed one.
2. What waits is counted, and while anything does, nothing more is read.
3. Where the parser finds the end of a request in another place than `arrival.py` does, nothing
   behind that is understood.
4. A client that closes its sending side gets the answers to what it sent before.
"""

import time
from typing import Any, Final

from aiohttp import hdrs, http_exceptions, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from ingest.errors import Code, Refusal
from ingest.http import http2
from ingest.http.arrival import WHOLE_HEAD_BYTES_MAX, Arrival
from ingest.http.budget import Budget, Share

HEAD_BYTES_MAX: Final = 8190
"""The longest request line, and the longest header."""
HEADERS_MAX: Final = 64
READ_BYTES: Final = 32_768
"""aiohttp stops reading a body of which twice as much waits for its handler."""
_CHUNKED: Final = "chunked"


class Pipeline(RequestHandler):
    """What a client sends on one connection."""

    __slots__ = (
        "_arrival",
        "_arriving",
        "_body",
        "_is_answering",
        "_is_busy",
        "_is_closing_asked",
        "_is_dropping",
        "_is_half_closed",
        "_is_held_back",
        "_is_over",
        "_is_wanted",
        "head_since_s",
    )

    def __init__(self, server: web.Server, keyless: Budget, **options: Any) -> None:  # noqa: ANN401
        super().__init__(
            server,
            read_bufsize=READ_BYTES,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            # Inflating after a 413 blocked the loop for 3.3 s (three bodies of 1 MB).
            auto_decompress=False,
            **options,
        )
        self._arrival = Arrival()
        self._arriving = Share(keyless)
        self.head_since_s = 0.0
        """When the head that is still incomplete began; 0 when there is none."""
        self._body: StreamReader = EMPTY_PAYLOAD
        """That of the newest request, while it is incomplete."""
        self._is_busy = False
        """Whether there is a request that is not answered."""
        self._is_answering = False
        """Whether an answer is being sent."""
        self._is_dropping = False
        self._is_held_back = False
        """Whether reading is paused until a request is answered."""
        self._is_closing_asked = False
        """Whether the newest request is the last that its client means to send."""
        self._is_wanted = False
        """Whether a handler reads the body, or will."""
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

    @property
    def is_arriving(self) -> bool:
        """Whether a request has begun and the rest of it is still to come."""
        return self.head_since_s > 0 or not self._body.is_eof()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget what is not parsed."""
        self._forget_arrival()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed now; aiohttp gives nothing to go on with a body."""
        if self._is_over:
            return
        if not self._request_count and data.startswith(http2.PREFACE):
            self._decline_http2()
            return
        if data:
            self._arrival.add(data)
        else:
            self._feed(b"")
        self._go_on()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the sending side open while answers are due, then close."""
        if self.is_idle:
            return False
        self._is_half_closed = True
        self._go_on()
        if self.is_last:
            self.close()
        return True

    def _begin_answer(self) -> None:
        """From now on drop what is left of the request's body as it comes."""
        self._is_wanted, self._is_answering = False, True
        self._drop_body()

    def _end_answer(self) -> None:
        """Go on with the next request."""
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
            self._end_body(_broken_body())
            if self.is_last and not self._is_busy:
                self.close()
        self._note_head()

    @property
    def _may_parse(self) -> bool:
        return not (self._is_over or self._reading_paused or self._close or self._force_close)

    def _parse_piece(self) -> bool:
        """Parse a piece of a head or of a body; drop that of an answer. Return if there was one."""
        if self._arrival.is_between and (self._is_busy or not self._body.is_eof()):
            return False
        piece = self._arrival.take()
        if not piece:
            return False
        excess_bytes = self._arrival.excess_bytes
        self._feed(piece[: len(piece) - excess_bytes])
        if excess_bytes and not self._is_over:
            self._refuse_rest(too_large_head())
        if self._may_parse and not self._body.is_eof():
            # Behind a body of exactly as many chunks as it lets wait, aiohttp 3.14 stops once more
            # in the next one, and says so to nobody.
            self._feed(b"")
        if self._is_answering:
            self._drop_body()
        return True

    def _drop_body(self) -> None:
        """Let go of what there is of a body; reading it makes aiohttp give us a turn within."""
        body = self._body
        if self._is_dropping:
            return
        self._is_dropping = True
        while body.exception() is None and body.read_nowait():
            pass
        self._is_dropping = False

    def _feed(self, piece: bytes) -> None:
        """Let the parser have a piece, which is of one request."""
        parsed = self._request_count
        was_open = not self._body.is_eof()
        try:
            super().data_received(piece)
            if self._request_count > parsed:
                self._begin(*self._messages[-1])
            elif was_open and self._body.is_eof():
                self._require_agreement()
        except Exception as error:  # noqa: BLE001 - whatever a hostile head makes a parser raise
            self._refuse_rest(error)
        if self._upgraded:
            self._decline_upgrade()
        if self._body.is_eof():
            self._body = EMPTY_PAYLOAD
            if self._is_closing_asked:
                self._forget_arrival()  # it is ignored (RFC 9112, 9.6)

    def _begin(self, head: RawRequestMessage | _ErrInfo, body: StreamReader) -> None:
        """Begin a request, or raise what is wrong with it."""
        self._is_busy = True
        if isinstance(head, _ErrInfo):
            self._end_reading(head.exc)
            return
        self._require_agreement()
        self._require_known_length(head)
        length = head.headers.get(hdrs.CONTENT_LENGTH, "0")
        self._arrival.begin_body(None if head.chunked else int(length))
        self._body, self._is_wanted, self._is_closing_asked = body, True, head.should_close

    def _require_agreement(self) -> None:
        """Raise unless what the parser has just come to the end of ends here, too."""
        if not self._arrival.is_between:
            raise http_exceptions.BadHttpMessage("its end is not clear")

    def _require_known_length(self, head: RawRequestMessage) -> None:
        """Raise for a request whose end nobody knows, or whose body nobody unpacks (RFC 9112, 6).

        aiohttp 3.14 takes an empty Transfer-Encoding for none, and the body for the next request;
        of `gzip, chunked` it leaves the gzip.
        """
        codings = ",".join(head.headers.getall(hdrs.TRANSFER_ENCODING, (_CHUNKED,)))
        if codings.strip(" \t").lower() != _CHUNKED:
            self._messages.pop()
            raise Refusal(
                Code.BAD_REQUEST,
                "Transfer-Encoding can only be chunked; what is compressed has Content-Encoding.",
            )

    def _decline_http2(self) -> None:
        """Say so in frames; what its client sends meanwhile is read and dropped, not reset."""
        self._forget_arrival()
        if self.transport is not None:
            self.transport.write(http2.DECLINED)
            self.transport.write_eof()

    def _decline_upgrade(self) -> None:
        """Go on with HTTP/1.1 behind a request for another protocol."""
        self._upgraded = False
        if self._parser is not None:
            self._parser.set_upgraded(False)

    def _hold(self) -> None:
        """Count what has arrived and waits, and read no more until it does not."""
        try:
            if self._body.is_eof() or not self._is_wanted:
                self._arriving.resize(self._arrival.held_bytes)
            else:  # its handler is about to read it
                self._arriving.count(self._arrival.held_bytes)
        except Refusal as refusal:
            self._refuse_rest(refusal.anew())
            return
        is_waiting = bool(self._arrival)
        if is_waiting and not self._is_held_back:
            self._is_held_back = True
            self._pause_transport_reading()
        elif self._is_held_back and not is_waiting:
            self._let_read()

    def _let_read(self) -> None:
        self._is_held_back = False
        if not self._reading_paused:
            self._resume_transport_reading()

    def _note_head(self) -> None:
        """Note when an incomplete head began."""
        if not self._arrival.is_in_head:
            self.head_since_s = 0.0
        elif not self.head_since_s:
            self.head_since_s = time.monotonic()

    def _forget_arrival(self) -> None:
        """Parse nothing more; what comes is read and dropped."""
        self._is_over = True
        self.head_since_s = 0.0
        self._arrival.clear()
        self._arriving.count(0)
        if self._is_held_back:
            self._let_read()

    def _refuse_rest(self, error: Exception) -> None:
        """Answer what made the parser itself fail, or us, as any other malformed head.

        yarl raises IndexError for the target http://[v1.x]@, and aiohttp 3.14 lets it through.
        """
        self._messages.append((_ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD))
        self._request_count += 1
        self._is_busy = True
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
        self._end_body(_broken_body())
        reason: BaseException | None = error
        while reason is not None:
            reason.__traceback__ = None
            reason = reason.__context__

    def _end_body(self, reason: Exception) -> None:
        """Tell a handler that waits for more of a body why no more will come."""
        if self._body.is_eof():
            return
        if self._is_wanted:
            self._body.set_exception(reason)
            self._lingering_time = 0.0  # aiohttp would wait for more, and log the exception
        else:
            self._body.feed_eof()


def _broken_body() -> Exception:
    return web.RequestPayloadError("the body is malformed or incomplete")


def too_large_head() -> Refusal:
    """Return the refusal of a head that is too long, or of what stands around a chunked body."""
    return Refusal(
        Code.HEADERS_TOO_LARGE,
        f"The request line and each header may have {HEAD_BYTES_MAX} bytes at most, all together "
        f"{WHOLE_HEAD_BYTES_MAX}, and there may be {HEADERS_MAX} headers.",
    )
