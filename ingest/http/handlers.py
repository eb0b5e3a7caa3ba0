"""The routes. This lane is the reference: whatever else takes events answers as it does."""

from collections.abc import Mapping
from typing import Final, cast

import orjson
import structlog
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from ingest.config import Limits
from ingest.delivery.fallback import Fallback
from ingest.delivery.intake import Intake
from ingest.delivery.outcome import Ack, Duplicate, Outcome, Waiter
from ingest.errors import Code, Refusal
from ingest.events import row_json
from ingest.http import cors, idempotency, preferences
from ingest.http.authentication import Authenticator
from ingest.http.batch import BatchRoute
from ingest.http.bodies import BodyReader
from ingest.http.idempotency import IDEMPOTENCY_KEY
from ingest.http.preferences import APPLIED, PREFER, RESPOND_ASYNC
from ingest.http.responses import DUPLICATE, JSON, refuse, succeed
from ingest.http.routes import Handler, Methods, Route, ingestion, readable
from ingest.http.server import Connection
from ingest.http.waiters import Answer, EarlyAcks
from ingest.observe.metrics import CONTENT_TYPE, Metrics
from ingest.store.health import Health
from ingest.store.keyring import Keyring

log = structlog.get_logger(__name__)

EVENT: Final = "/event"
EVENTS: Final = "/events"
VERSIONS: Final = (HttpVersion11, HttpVersion10)
NO_PAGES: Final[Mapping[str, Methods]] = {}

_CLOSING: Final = {Code.BAD_REQUEST, Code.REQUEST_TIMEOUT}
"""Behind these nobody knows where the next request begins."""

_TEXT: Final = "text/plain"
"""What a browser sends to another origin without asking first."""


class Handlers:
    """What the routes need, and the table of routes."""

    def __init__(  # noqa: PLR0913 - what every route needs
        self,
        intake: Intake,
        keyring: Keyring,
        health: Health,
        fallback: Fallback,
        metrics: Metrics,
        limits: Limits,
        *,
        key_in_query: bool = False,
        pages: Mapping[str, Methods] = NO_PAGES,
    ) -> None:
        self._intake = intake
        self._authenticator = Authenticator(keyring, key_in_query=key_in_query)
        self._types = (JSON, _TEXT) if key_in_query else (JSON,)
        self._health = health
        self._fallback = fallback
        self._metrics = metrics
        self._body_bytes_max = limits.body_bytes_max
        self._bodies = BodyReader(limits)
        self._early_acks = EarlyAcks(metrics)
        self._is_stopping = False
        batch = BatchRoute(
            intake, Authenticator(keyring), self._bodies, self._early_acks, metrics, limits
        )
        self._routes: Mapping[str, Route] = {
            **{path: Route(methods) for path, methods in pages.items()},
            EVENT: ingestion(self.post_event),
            EVENTS: ingestion(batch.post),
            "/healthz": Route(readable(self.get_healthz)),
            "/readyz": Route(readable(self.get_readyz)),
            "/metrics": Route(readable(self.get_metrics)),
        }

    def stop(self) -> None:
        """From now on close every connection behind its answer."""
        self._is_stopping = True
        self._early_acks.stop()

    async def dispatch(self, request: web.BaseRequest) -> web.Response:
        """Answer a request; whatever happens, in our one shape."""
        route = self._routes.get(request.path)
        try:
            response = await _handler(request, route)(request)
        except Refusal as refusal:
            response = refuse(refusal)
            if refusal.code in _CLOSING:
                response.force_close()
                _connection(request).close_behind_answer()
        except Exception:
            log.exception("a request failed", method=request.method)
            response = refuse(Refusal(Code.INTERNAL_ERROR, "The server failed; see its log."))
        if route is not None and route.is_open_to_browsers:
            response.headers.update(cors.headers_for(response.headers))
        if self._is_stopping or _connection(request).is_last:
            response.force_close()
        self._metrics.requests[response.status] += 1
        return response

    async def post_event(self, request: web.BaseRequest) -> web.Response:
        """Store one event; answer once it is durable, or at once if the client prefers that."""
        if preferences.parse(request.headers.getall(PREFER, ())).is_async:
            row = await self._accept(request, self._early_acks)
            self._metrics.async_acks += 1
            return succeed(row, Ack.SPOOLED.value, {APPLIED: RESPOND_ASYNC})
        waiter = Answer(self._metrics)
        row = await self._accept(request, waiter)
        # Not cancelled when the client goes away: its event is on its way and keeps its place.
        outcome = await waiter.settled
        # Not raised: one refusal may be a whole batch's, and would collect all their tracebacks.
        return _answer(row, outcome)

    async def _accept(self, request: web.BaseRequest, waiter: Waiter) -> bytes:
        """Queue a request's event; return the body of its success."""
        try:
            self._authenticator.app_of(request)  # before a byte of the body is asked for
            self._require_json(request)
            body = await self._bodies.read(request, self._body_bytes_max)
            app_id = self._authenticator.app_of(request)  # it may have been revoked meanwhile
            key = idempotency.digest_of(request.headers.getall(IDEMPOTENCY_KEY, ()))
            return self._intake.accept(app_id, body, waiter, key)
        except Refusal as refusal:
            self._metrics.refused[refusal.code] += 1
            raise

    async def get_healthz(self, _: web.BaseRequest) -> web.Response:
        """Say that the process serves; never touches the database."""
        return succeed(b'{"status":"ok"}')

    async def get_readyz(self, _: web.BaseRequest) -> web.Response:
        """Say whether a durable answer is possible, or why not."""
        if self._is_stopping:
            raise Refusal(Code.NOT_READY, "The server is stopping.")
        in_spool = self._metrics.events_in_spool
        if self._health.is_up:
            return succeed(b'{"status":"ready","postgres":"up","spool_events":%d}' % in_spool)
        reason = self._health.reason
        if not self._fallback.has_room:
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
        """Expose the metrics to Prometheus."""
        return web.Response(body=self._metrics.expose(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    def _require_json(self, request: web.BaseRequest) -> None:
        # Parameters such as charset=utf-8 are fine: JSON is UTF-8 whatever they say.
        if request.content_type not in self._types or hdrs.CONTENT_TYPE not in request.headers:
            raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {JSON}.")
        encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
        if encoding.lower() != "identity":
            raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without Content-Encoding.")


def _answer(body: bytes, outcome: Outcome) -> web.Response:
    """Return the answer to a single event; `body` is that of its success."""
    match outcome:
        case Refusal():
            return refuse(outcome)
        case Duplicate():
            return succeed(row_json.alone(outcome.row), outcome.ack.value, DUPLICATE)
        case _:
            return succeed(body, outcome.value)


def _handler(request: web.BaseRequest, route: Route | None) -> Handler:
    if request._version not in VERSIONS:  # noqa: SLF001 - `version` would be cached
        request._version = HttpVersion11  # noqa: SLF001 - and the answer would repeat it
        raise Refusal(Code.BAD_REQUEST, "Speak HTTP/1.1 or HTTP/1.0.")
    if route is None:
        raise Refusal(Code.NOT_FOUND, "There is nothing here; events go to POST /event or /events.")
    handler = route.methods.get(request.method)
    if handler is None:
        allow = ", ".join(route.methods)
        raise Refusal(Code.METHOD_NOT_ALLOWED, f"Use {allow} here.", allow=allow)
    return handler


def _connection(request: web.BaseRequest) -> Connection:
    return cast("Connection", request.protocol)
