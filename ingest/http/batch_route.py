"""`POST /events`: many events in one document, each accepted or refused for itself.

All of them are understood before the first one is queued, so a document that is broken somewhere
leaves no trace, and they are queued all or none.
"""

from collections.abc import Iterator
from typing import Final

from aiohttp import web

from ingest.config import Limits
from ingest.delivery.intake import Intake
from ingest.errors import Code, Refusal
from ingest.events import document
from ingest.events.document import Part
from ingest.events.drafts import Draft, Drafts
from ingest.events.event import BYTE_ORDER_MARK, Events
from ingest.http import preferences
from ingest.http.authentication import Authenticator, app_id_of
from ingest.http.batch_answer import NOT_YET, describe
from ingest.http.bodies import BodyReader
from ingest.http.connection import held_of
from ingest.http.content import NDJSON, encoding_of, media_type_of
from ingest.http.duplicates import conflict_of
from ingest.http.idempotency import IDEMPOTENCY_KEY
from ingest.http.inflate import Inflater, require_known
from ingest.http.limited_keys import refusal_of, require_allowed
from ingest.http.preferences import PREFER, Preferences
from ingest.http.protocols import cloudevents
from ingest.http.protocols.dialect import Read
from ingest.http.protocols.drafting import draft
from ingest.http.responses import JSON
from ingest.http.turns import Turns
from ingest.http.waiters import BatchAnswer, EarlyAcks, Outcomes
from ingest.observe.metrics import Metrics
from ingest.store.keyring import Grant

_TURN_PLAIN: Final = 1_000
_TURN_COSTLY: Final = 250
"""So many events that were decoded together are drafted before others have a turn: in 1 ms, or in 4
if each has a timestamp."""

_TURN_EVENTS: Final = 500
_TURN_BYTES: Final = 256 * 1024
"""So many events that are decoded one by one, and so many bytes, are drafted in a turn: in 1 ms."""


_MADE: Final = 2
_MADE_OF_EVENT_BYTES: Final = 768
"""A batch is held as its body and its events, then as its rows and its answer, each as long as its
body; and so much more of each event: its id, times and ack, or its refusal, and the objects that
they are. The largest batch makes 42 MB of it, so one of them fits, and a second one does not."""


class BatchRoute:
    """Takes batches of events, as a JSON array or as NDJSON."""

    def __init__(  # noqa: PLR0913 - all that a batch passes by
        self,
        intake: Intake,
        authenticator: Authenticator,
        bodies: BodyReader,
        early_acks: EarlyAcks,
        metrics: Metrics,
        limits: Limits,
        *,
        turns: Turns,
    ) -> None:
        self._intake = intake
        self._authenticator = authenticator
        self._bodies = bodies
        self._turns = turns
        self._early_acks = early_acks
        self._metrics = metrics
        self._limits = limits
        self._inflater = Inflater()

    async def post(self, request: web.BaseRequest) -> web.Response:
        """Store a batch; answer once all of it is durable, or before if the client prefers that."""
        preferred = preferences.parse(request.headers.getall(PREFER, ()))
        try:
            grant = self._authenticator.grant_of(request)  # before a byte of the body is asked for
            _require_no_key(request)
            is_ndjson, encoding = _content_of(request)
            bytes_max = self._limits.batch_bytes_max
            held = held_of(request)
            body = await self._bodies.read(request, bytes_max, held)
            await self._turns.take(grant.app.id)
            if encoding:
                body = await self._inflater.inflate(body, encoding, bytes_max=bytes_max, held=held)
            body = body.removeprefix(BYTE_ORDER_MARK)
            held.resize(_MADE * len(body))
            read = _reader_of(request)
            if request.content_type == cloudevents.STRUCTURED:
                parts: list[Part] = [[body]]
            else:
                parts = await self._split(body, is_ndjson=is_ndjson)
            size, events = len(body), _count(parts)
            held.resize(_MADE * size + events * _MADE_OF_EVENT_BYTES)
            del body
            grant = self._authenticator.grant_of(request)  # it may have been revoked meanwhile
            require_allowed(grant, events, size)
            return await self._take(grant, parts, preferred, read)
        except Refusal as refusal:
            self._metrics.refuse(refusal, app_id_of(request))
            raise

    async def _split(self, body: bytes, *, is_ndjson: bool) -> list[Part]:
        limits = self._limits
        return await document.split(
            body,
            is_ndjson=is_ndjson,
            events_max=limits.batch_events_max,
            event_bytes_max=limits.body_bytes_max,
        )

    async def _take(
        self,
        grant: Grant,
        parts: list[Part],
        preferred: Preferences,
        read: Read | None,
    ) -> web.Response:
        drafts = Drafts(wants_stored=not preferred.is_minimal)
        await self._draft(grant, parts, drafts, read)
        if preferred.is_async:
            self._intake.accept_all(grant.app, drafts, self._early_acks)
            self._metrics.async_acks += bool(drafts.events)
            return describe(drafts, NOT_YET, preferred)
        answer = BatchAnswer(drafts.rows, drafts.events)
        self._intake.accept_all(grant.app, drafts, answer)
        # Not cancelled when the client goes away: its events are on their way.
        outcomes = await answer.settled
        await self._turns.take(grant.app.id)
        del answer  # so that the rows are gone before the answer is made, which is as large
        drafts.release()
        if preferred.is_strict:
            outcomes = self._without_conflicts(outcomes)
        return describe(drafts, outcomes, preferred)

    def _without_conflicts(self, outcomes: Outcomes) -> Outcomes:
        """Return what became of the events where no other event's row is wanted."""
        conflicts = {
            index: conflict
            for index, outcome in outcomes.uncommon.items()
            if (conflict := conflict_of(outcome))
        }
        if conflicts:
            self._metrics.refused(Code.CONFLICT, len(conflicts))
        return outcomes._replace(uncommon={**outcomes.uncommon, **conflicts})

    async def _draft(
        self, grant: Grant, parts: list[Part], drafts: Drafts, read: Read | None = None
    ) -> None:
        """Understand each event; what it was read from is dropped as soon as that is done."""
        parts.reverse()
        while parts:
            for turn in _turns(parts.pop()):
                if isinstance(turn, Events) and read is not None:
                    for _ in turn.events:
                        drafts.add(cloudevents.none())
                elif isinstance(turn, Events):
                    self._draft_together(grant, turn, drafts)
                else:
                    for event in turn:
                        drafts.add(self._draft_one(grant, event, read))
                await self._turns.take_another(grant.app.id)
        for refusal in drafts.refusals.values():
            self._metrics.refuse(refusal, grant.app.id)

    def _draft_together(self, grant: Grant, found: Events, drafts: Drafts) -> None:
        start = drafts.count
        self._intake.draft_all(grant.app, found, drafts)
        if grant.limits is None:
            return
        for index, each in enumerate(found.events, start):
            refusal = refusal_of(grant.limits, each.event_name)
            if refusal is not None and index not in drafts.refusals:
                drafts.refuse(index, refusal)

    def _draft_one(self, grant: Grant, event: bytes, read: Read | None) -> Draft | Refusal:
        bytes_max = self._limits.body_bytes_max
        if read is not None:
            return draft(self._intake, grant, read, event, bytes_max)
        if len(event) > bytes_max:
            return Refusal(Code.PAYLOAD_TOO_LARGE, f"An event may have {bytes_max} bytes at most.")
        drafted = self._intake.draft(grant.app, event)
        if grant.limits is None or isinstance(drafted, Refusal):
            return drafted
        return refusal_of(grant.limits, self._intake.name_of(event)) or drafted


def _reader_of(request: web.BaseRequest) -> Read | None:
    """Return what reads a batch's events; None for ours."""
    is_batch = request.content_type in (cloudevents.BATCHED, cloudevents.STRUCTURED)
    return cloudevents.structured if is_batch else None


def _count(parts: list[Part]) -> int:
    """Return how many events there are, good and bad ones."""
    return sum(len(part.events if isinstance(part, Events) else part) for part in parts)


def _turns(part: Part) -> Iterator[Part]:
    """Yield a part's events, so many as may be drafted at once."""
    if isinstance(part, Events):
        yield from part.cut(_TURN_COSTLY if part.may_be_costly else _TURN_PLAIN)
        return
    start, size = 0, 0
    for end, event in enumerate(part, 1):
        size += len(event)
        if end - start >= _TURN_EVENTS or size >= _TURN_BYTES:
            yield part[start:end]
            start, size = end, 0
    if start < len(part):
        yield part[start:]


def _content_of(request: web.BaseRequest) -> tuple[bool, str]:
    """Return whether the body is NDJSON, and how it is encoded; raise Refusal."""
    media_type, encoding = media_type_of(request), encoding_of(request)
    if media_type not in (JSON, NDJSON):
        raise Refusal(
            Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {JSON} (an array) or {NDJSON}."
        )
    if encoding:
        require_known(encoding)
    return media_type == NDJSON, encoding


def _require_no_key(request: web.BaseRequest) -> None:
    if IDEMPOTENCY_KEY in request.headers:
        raise Refusal(
            Code.INVALID_IDEMPOTENCY_KEY,
            f"{IDEMPOTENCY_KEY} is for POST /event; give each event of a batch an id instead.",
        )
