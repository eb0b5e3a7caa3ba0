"""The routes. This lane is the reference: whatever else takes events answers as it does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

import orjson
import structlog
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingest.config import Limits
from ingest.errors import Code, Refusal
from ingest.http.responses import JSON, refuse, succeed
from ingest.http.server import Connection
from ingest.observe.metrics import CONTENT_TYPE, Books
from ingest.pipeline.fate import Ack, Fate
from ingest.pipeline.intake import Intake
from ingest.pipeline.shelter import Shelter
from ingest.store.health import Health
from ingest.store.keyring import Keyring

log = structlog.get_logger(__name__)

EVENT: Final = "/event"
API_KEY: Final = "X-API-Key"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECT_CONTINUE: Final = "100-continue"
VERSIONS: Final = (HttpVersion11, HttpVersion10)

_CLOSING: Final = {Code.BAD_REQUEST, Code.REQUEST_TIMEOUT}
"""Behind these nobody knows where the next request begins."""

_COUNTED: Final = {ack.value for ack in Ack}
"""An event's 200 or 202 is counted with its batch."""

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]


class Answer:
    """A request that waits for its event's fate."""

    __slots__ = ("settled",)

    def __init__(self) -> None:
        self.settled: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

    def settle(self, fate: Fate) -> None:
        """Wake the request; one that was cancelled in the meantime needs no answer."""
        if not self.settled.done():
            self.settled.set_result(fate)


class Handlers:
    """What the routes need, and the table of routes."""

    def __init__(
        self,
        intake: Intake,
        keyring: Keyring,
        health: Health,
        shelter: Shelter,
        books: Books,
        limits: Limits,
    ) -> None:
        self._intake = intake
        self._keyring = keyring
        self._health = health
        self._shelter = shelter
        self._books = books
        self._limits = limits
        self._is_stopping = False
        self._reading_bytes = 0
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            EVENT: {hdrs.METH_POST: self.post_event},
            "/healthz": _readable(self.get_healthz),
            "/readyz": _readable(self.get_readyz),
            "/metrics": _readable(self.get_metrics),
        }

    def stop(self) -> None:
        """From now on close every connection behind its answer."""
        self._is_stopping = True

    async def dispatch(self, request: web.BaseRequest) -> web.Response:
        """Answer a request; whatever happens, in our one shape."""
        try:
            response = await self._route(request)(request)
        except Refusal as refusal:
            response = refuse(refusal)
            if refusal.code in _CLOSING:
                response.force_close()
                _connection(request).close_behind_answer()
        except Exception:
            log.exception("a request failed", method=request.method)
            response = refuse(Refusal(Code.INTERNAL_ERROR, "The server failed; see its log."))
        if self._is_stopping or _connection(request).is_last:
            response.force_close()
        if response.status not in _COUNTED or request.path != EVENT:
            self._books.requests[response.status] += 1
        return response

    async def post_event(self, request: web.BaseRequest) -> web.Response:
        """Store one event; answer once it is durable."""
        waiter = Answer()
        try:
            self._authenticate(request)  # before a byte of the body is asked for
            _require_json(request)
            body = await self._read(request)
            app_id = self._authenticate(request)  # the key may have been revoked meanwhile
            answer = self._intake.accept(app_id, body, waiter)
        except Refusal as refusal:
            self._books.refused[refusal.code] += 1
            raise
        # Not cancelled when the client goes away: its event is on its way and keeps its place.
        fate = await waiter.settled
        # Not raised: one refusal may be a whole batch's, and would collect all their tracebacks.
        return refuse(fate) if isinstance(fate, Refusal) else succeed(answer, fate.value)

    async def get_healthz(self, _: web.BaseRequest) -> web.Response:
        """Say that the process serves; never touches the database."""
        return succeed(b'{"status":"ok"}')

    async def get_readyz(self, _: web.BaseRequest) -> web.Response:
        """Say whether a durable answer is possible, or why not."""
        if self._is_stopping:
            raise Refusal(Code.NOT_READY, "The server is stopping.")
        in_spool = self._books.events_in_spool
        if self._health.is_up:
            return succeed(b'{"status":"ready","postgres":"up","spool_events":%d}' % in_spool)
        reason = self._health.reason
        if not self._shelter.has_room:
            raise Refusal(
                Code.NOT_READY, f"Postgres is away ({reason}), and the spool takes nothing."
            )
        return succeed(
            orjson.dumps(
                {
                    "status": "ready",
                    "postgres": "away",
                    "reason": reason,
                    "spool_events": in_spool,
                }
            )
        )

    async def get_metrics(self, _: web.BaseRequest) -> web.Response:
        """Expose the books to Prometheus."""
        return web.Response(body=self._books.expose(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    def _route(self, request: web.BaseRequest) -> Handler:
        if request._version not in VERSIONS:  # noqa: SLF001 - `version` would be cached
            request._version = HttpVersion11  # noqa: SLF001 - and the answer would repeat it
            raise Refusal(Code.BAD_REQUEST, "Speak HTTP/1.1 or HTTP/1.0.")
        methods = self._routes.get(request.path)
        if methods is None:
            raise Refusal(Code.NOT_FOUND, "There is nothing here; events go to POST /event.")
        handler = methods.get(request.method)
        if handler is None:
            allow = ", ".join(methods)
            raise Refusal(Code.METHOD_NOT_ALLOWED, f"Use {allow} here.", allow=allow)
        return handler

    def _authenticate(self, request: web.BaseRequest) -> int:
        secrets = request.headers.getall(API_KEY, [])
        if not any(secrets):
            raise Refusal(Code.MISSING_API_KEY, f"Send your API key in the {API_KEY} header.")
        # Two keys are refused even if both are valid: proxies and servers would differ on which.
        app_id = self._keyring.app_of(secrets[0]) if len(secrets) == 1 else None
        if app_id is None:
            raise Refusal(Code.INVALID_API_KEY, f"The API key in {API_KEY} is not valid.")
        return app_id

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Return the body; the length that a client announces is checked before it is read."""
        if (request.content_length or 0) > self._limits.body_bytes_max:
            raise self._too_large()
        _require_known_expectation(request)
        if request.content.is_eof():  # all of it came with the head: no time-out to arm
            body = request.content.read_nowait()
            if len(body) > self._limits.body_bytes_max:
                raise self._too_large()
            return body
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                await _continue(request)
                return await self._read_slowly(request)
        except TimeoutError:
            raise Refusal(
                Code.REQUEST_TIMEOUT, "The request's body did not arrive in time."
            ) from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            # A malformed chunk, or a client that went away in the middle of its body.
            raise Refusal(Code.BAD_REQUEST, "The request's body is not well-formed.") from None

    async def _read_slowly(self, request: web.BaseRequest) -> bytes:
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                self._reading_bytes += len(chunk)
                if len(body) > self._limits.body_bytes_max:
                    raise self._too_large()
                if self._reading_bytes > self._limits.bodies_bytes_max:
                    raise Refusal(Code.OVERLOADED, "Too much is being sent at once; try again.")
        finally:
            self._reading_bytes -= len(body)
        return bytes(body)

    def _too_large(self) -> Refusal:
        return Refusal(
            Code.PAYLOAD_TOO_LARGE,
            f"The body may have {self._limits.body_bytes_max} bytes at most.",
        )


def _readable(handler: Handler) -> Mapping[str, Handler]:
    return {hdrs.METH_GET: handler, hdrs.METH_HEAD: handler}


def _connection(request: web.BaseRequest) -> Connection:
    return cast("Connection", request.protocol)


def _require_json(request: web.BaseRequest) -> None:
    # Parameters such as charset=utf-8 are fine: JSON is UTF-8 whatever they say.
    if request.content_type != JSON or hdrs.CONTENT_TYPE not in request.headers:
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {JSON}.")
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.lower() != "identity":
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without Content-Encoding.")


def _require_known_expectation(request: web.BaseRequest) -> None:
    if request.headers.get(hdrs.EXPECT, _EXPECT_CONTINUE).lower() != _EXPECT_CONTINUE:
        raise Refusal(Code.EXPECTATION_FAILED, "Only Expect: 100-continue is understood.")


async def _continue(request: web.BaseRequest) -> None:
    """Ask for the body if the client waits to be asked (curl does, past 1 MiB)."""
    if hdrs.EXPECT in request.headers and request.version == HttpVersion11:
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # aiohttp counts it as the answer's start otherwise
