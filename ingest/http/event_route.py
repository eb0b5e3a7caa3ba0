"""`POST /event`: one event, answered once it is durable, or at once if the client prefers that."""

from aiohttp import web

from ingest.delivery.intake import Intake
from ingest.delivery.outcome import Ack, Duplicate, Outcome, Waiter
from ingest.errors import Code, Refusal
from ingest.events import row_json
from ingest.events.foreign import Foreign
from ingest.http import idempotency, preferences
from ingest.http.authentication import Authenticator, app_id_of
from ingest.http.bodies import BodyReader
from ingest.http.budget import too_large
from ingest.http.connection import held_of
from ingest.http.content import TEXT, encoding_of, media_type_of
from ingest.http.duplicates import conflict_of, headers_of
from ingest.http.idempotency import IDEMPOTENCY_KEY
from ingest.http.limited_keys import require_allowed, require_name
from ingest.http.preferences import PREFER, Preferences
from ingest.http.protocols import cloudevents
from ingest.http.responses import JSON, refuse, status_of, succeed
from ingest.http.turns import Turns
from ingest.http.waiters import Answer, EarlyAcks
from ingest.observe.metrics import Metrics
from ingest.store.keyring import Grant


class EventRoute:
    """Takes events one at a time."""

    def __init__(  # noqa: PLR0913 - all that an event passes by
        self,
        intake: Intake,
        authenticator: Authenticator,
        bodies: BodyReader,
        early_acks: EarlyAcks,
        metrics: Metrics,
        *,
        turns: Turns,
        body_bytes_max: int,
    ) -> None:
        self._intake = intake
        self._authenticator = authenticator
        self._bodies = bodies
        self._turns = turns
        self._early_acks = early_acks
        self._metrics = metrics
        self._body_bytes_max = body_bytes_max
        self._types = (JSON, TEXT) if authenticator.takes_query else (JSON,)

    async def post(self, request: web.BaseRequest) -> web.Response:
        """Store the event of a request and answer it; raise Refusal."""
        try:
            grant = self._authenticator.grant_of(request)  # before a byte of the body is asked for
            self._require_json(request)
            body = await self._bodies.read(request, self._body_bytes_max, held_of(request))
            await self._turns.take(grant.app.id)
            grant = self._authenticator.grant_of(request)  # it may have been revoked meanwhile
            require_allowed(grant, 1, len(body))
            return await self._take(request, grant, body)
        except Refusal as refusal:
            self._metrics.refuse(refusal, app_id_of(request))
            raise

    async def _take(self, request: web.BaseRequest, grant: Grant, body: bytes) -> web.Response:
        """Queue an event and return its answer; raise Refusal for one that is not queued."""
        # Its row is told, whatever `return` asks for.
        preferred = preferences.parse(request.headers.getall(PREFER, ()))._replace(content=None)
        if preferred.is_async:
            success = self._accept(request, grant, body, self._early_acks)
            self._metrics.async_acks += 1
            return succeed(success, status_of(Ack.SPOOLED), preferred.applied)
        waiter = Answer()
        success = self._accept(request, grant, body, waiter)
        # Not cancelled when the client goes away: its event is on its way and keeps its place.
        outcome = await waiter.settled
        await self._turns.take(grant.app.id)
        if preferred.is_strict and (conflict := conflict_of(outcome)):
            raise conflict
        # Not raised: one refusal may be a whole batch's, and would collect all their tracebacks.
        return _answer(success, outcome, preferred)

    def _accept(self, request: web.BaseRequest, grant: Grant, body: bytes, waiter: Waiter) -> bytes:
        if _is_cloud_event(request):
            return self._accept_cloud_event(request, grant, body, waiter)
        if grant.limits is not None:
            require_name(grant.limits, self._intake.name_of(body))
        key = idempotency.digest_of(request.headers.getall(IDEMPOTENCY_KEY, ()))
        return self._intake.accept(grant.app, body, waiter, key)

    def _accept_cloud_event(
        self, request: web.BaseRequest, grant: Grant, body: bytes, waiter: Waiter
    ) -> bytes:
        found = _read_cloud_event(request, body)
        if len(found.params) > self._body_bytes_max:  # control characters take six times the room
            raise too_large(self._body_bytes_max)
        if grant.limits is not None:
            require_name(grant.limits, found.name)
        return self._intake.accept_foreign(grant.app, found, waiter)

    def _require_json(self, request: web.BaseRequest) -> None:
        is_binary = cloudevents.SPEC_VERSION in request.headers
        if media_type_of(request) not in self._types and not is_binary:
            raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {JSON}.")
        if encoding_of(request):
            raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without Content-Encoding.")


def _is_cloud_event(request: web.BaseRequest) -> bool:
    is_binary = cloudevents.SPEC_VERSION in request.headers
    return is_binary or request.content_type == cloudevents.STRUCTURED


def _read_cloud_event(request: web.BaseRequest, body: bytes) -> Foreign:
    if request.content_type == cloudevents.STRUCTURED:
        return cloudevents.structured(body)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return cloudevents.binary(headers, body, media_type_of(request))


def _answer(body: bytes, outcome: Outcome, preferred: Preferences) -> web.Response:
    """Return the answer to a single event; `body` is that of its success."""
    if isinstance(outcome, Refusal):
        return refuse(outcome)
    if isinstance(outcome, Duplicate):
        body = row_json.body(outcome.row)
    return succeed(body, status_of(outcome), {**headers_of(outcome), **preferred.applied})
