"""`POST /events`: many events in one document, each accepted or refused for itself.

All of them are understood before the first one is queued, so a document that is broken somewhere
leaves no trace, and they are queued all or none.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import hdrs, web

from ingest.config import Limits
from ingest.errors import Code, Refusal
from ingest.http import preferences
from ingest.http.authentication import Authenticator
from ingest.http.bodies import BodyReader
from ingest.http.idempotency import IDEMPOTENCY_KEY
from ingest.http.inflate import ENCODINGS, inflate
from ingest.http.outcome import Errors, describe
from ingest.http.preferences import PREFER, Preferences
from ingest.http.responses import JSON
from ingest.http.waiters import BatchAnswer, EarlyAcks
from ingest.observe.metrics import Books
from ingest.pipeline import document
from ingest.pipeline.intake import Draft, Intake

NDJSON: Final = "application/x-ndjson"
_IDENTITY: Final = "identity"
_TURN_EVENTS: Final = 500
_TURN_BYTES: Final = 256 * 1024
"""So much is drafted, in about a millisecond, before others have a turn."""


class BatchRoute:
    """Takes batches."""

    def __init__(
        self,
        intake: Intake,
        authenticator: Authenticator,
        bodies: BodyReader,
        early_acks: EarlyAcks,
        books: Books,
        limits: Limits,
    ) -> None:
        self._intake = intake
        self._authenticator = authenticator
        self._bodies = bodies
        self._early_acks = early_acks
        self._books = books
        self._limits = limits

    async def post(self, request: web.BaseRequest) -> web.Response:
        """Store a batch; answer once all of it is durable, or before if the client prefers that."""
        preferred = preferences.parse(request.headers.getall(PREFER, ()))
        try:
            self._authenticator.app_of(request)  # before a byte of the body is asked for
            _require_no_key(request)
            is_ndjson, encoding = _content_of(request)
            bytes_max = self._limits.batch_bytes_max
            body = await self._bodies.read(request, bytes_max)
            with self._bodies.holding(len(body)):
                # At most two are inflated at a time: so many may be larger than what is held.
                body = await inflate(body, encoding, bytes_max=bytes_max) if encoding else body
            with self._bodies.holding(len(body)):
                events = await self._split(body, is_ndjson=is_ndjson)
                del body
                return await self._take(request, events, preferred, is_ndjson=is_ndjson)
        except Refusal as refusal:
            self._books.refused[refusal.code] += 1
            raise

    async def _split(self, body: bytes, *, is_ndjson: bool) -> list[bytes]:
        limits = self._limits
        return await document.split(
            body,
            is_ndjson=is_ndjson,
            events_max=limits.batch_events_max,
            event_bytes_max=limits.body_bytes_max,
        )

    async def _take(
        self,
        request: web.BaseRequest,
        events: Sequence[bytes],
        preferred: Preferences,
        *,
        is_ndjson: bool,
    ) -> web.Response:
        app_id = self._authenticator.app_of(request)  # it may have been revoked meanwhile
        drafts, errors = await self._draft(app_id, events, is_ndjson=is_ndjson)
        if preferred.is_async:
            self._intake.accept_all(list(drafts.values()), [self._early_acks] * len(drafts))
            self._books.async_acks += bool(drafts)
            return describe(drafts, None, errors, preferred)
        answer = BatchAnswer(self._books, len(drafts))
        self._intake.accept_all(list(drafts.values()), answer.waiters(drafts))
        # Not cancelled when the client goes away: its events are on their way.
        fates = await answer.settled
        return describe(drafts, fates, errors, preferred)

    async def _draft(
        self, app_id: int, events: Sequence[bytes], *, is_ndjson: bool
    ) -> tuple[dict[int, Draft], Errors]:
        """Understand each event; return those that are good, and the others' errors, by index."""
        # A line may be anything: two halves of an event, and two events in another line, say.
        draft = self._draft_each if is_ndjson else self._draft_turn
        drafts: dict[int, Draft] = {}
        errors: Errors = {}
        for start, turn in _turns(events):
            for index, drafted in enumerate(draft(app_id, turn), start):
                if isinstance(drafted, Refusal):
                    errors[index] = drafted
                    self._books.refused[drafted.code] += 1
                else:
                    drafts[index] = drafted
            await asyncio.sleep(0)
        return drafts, errors

    def _draft_turn(self, app_id: int, turn: Sequence[bytes]) -> list[Draft | Refusal]:
        if max(map(len, turn)) <= self._limits.body_bytes_max:
            return self._intake.draft_all(app_id, turn)
        return self._draft_each(app_id, turn)

    def _draft_each(self, app_id: int, turn: Sequence[bytes]) -> list[Draft | Refusal]:
        return [self._draft_one(app_id, event) for event in turn]

    def _draft_one(self, app_id: int, event: bytes) -> Draft | Refusal:
        bytes_max = self._limits.body_bytes_max
        if len(event) > bytes_max:
            return Refusal(Code.PAYLOAD_TOO_LARGE, f"An event may have {bytes_max} bytes at most.")
        return self._intake.draft_or_refuse(app_id, event)


def _turns(events: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Yield events, with the index of the first, so many as may be drafted at once."""
    start, size = 0, 0
    for index, event in enumerate(events):
        size += len(event)
        if index + 1 - start >= _TURN_EVENTS or size >= _TURN_BYTES:
            yield start, events[start : index + 1]
            start, size = index + 1, 0
    if start < len(events):
        yield start, events[start:]


def _content_of(request: web.BaseRequest) -> tuple[bool, str]:
    """Return whether the body is NDJSON, and how it is encoded; raise Refusal."""
    if request.content_type not in (JSON, NDJSON) or hdrs.CONTENT_TYPE not in request.headers:
        raise Refusal(
            Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {JSON} (an array) or {NDJSON}."
        )
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, _IDENTITY).strip().lower()
    if encoding not in (_IDENTITY, *ENCODINGS):
        known = " or ".join(ENCODINGS)
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, f"Send Content-Encoding: {known}, or none.")
    return request.content_type == NDJSON, "" if encoding == _IDENTITY else encoding


def _require_no_key(request: web.BaseRequest) -> None:
    if IDEMPOTENCY_KEY in request.headers:
        raise Refusal(
            Code.INVALID_IDEMPOTENCY_KEY,
            f"{IDEMPOTENCY_KEY} is for POST /event; give each event of a batch an id instead.",
        )
