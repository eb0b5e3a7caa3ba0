"""A request of an SDK: its key is found, its body read, its events stored, its answer a plain 200.

What an SDK would send again for ever, as it can't be stored, is set aside (`delivery/aside.py`);
all others of its batch are stored. Whatever can't be answered with 200 is refused as a whole: a
resend has the same ids, and stores nothing twice.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from ingest.config import Limits
from ingest.delivery.aside import Aside, Unfit
from ingest.delivery.intake import Intake
from ingest.errors import Code, Refusal
from ingest.events import document, foreign
from ingest.events.document import Part
from ingest.events.drafts import Drafts
from ingest.events.event import BYTE_ORDER_MARK, Events, require_utf8
from ingest.events.foreign import Foreign
from ingest.http.authentication import Authenticator, app_id_of
from ingest.http.bodies import BodyReader
from ingest.http.budget import Share
from ingest.http.connection import held_of, keyless_of
from ingest.http.content import encoding_of
from ingest.http.inflate import Inflater, require_known
from ingest.http.limited_keys import refusal_of, require_allowed
from ingest.http.protocols import answers, leniency
from ingest.http.protocols.dialect import Dialect, Envelope, Read
from ingest.http.protocols.drafting import draft
from ingest.http.protocols.keys import keys_of
from ingest.http.responses import succeed
from ingest.http.turns import Turns
from ingest.http.waiters import BatchAnswer
from ingest.observe.metrics import Metrics
from ingest.store.keyring import Grant

_GZIP: Final = "gzip"
_GZIP_MAGIC: Final = b"\x1f\x8b"
BYTES_MAX: Final = 8 << 20
"""Of a body: PostHog's SDKs send 5 MB at most, all others less. To take it apart takes 20 ms."""
KEYLESS_BYTES_MAX: Final = 5 << 20
"""Of one whose key is in it."""
KEYLESS_TIMEOUT_S: Final = 10.0
"""In which such a body has to arrive: until then it holds a part of what all of them share."""
_KEPT_BYTES_MAX: Final = 1 << 20
"""So much is kept of what is too large."""
_LOOKED_AT: Final = 5
"""So many events are looked into for a key."""
_NAME_CHARS_MAX: Final = 1_000
_TURN_BYTES: Final = 128 * 1024
_EVENT_BYTES: Final = 1024
"""An event costs as much as so many bytes of it do."""
_MADE: Final = 3
"""Of a body its events are made, their rows, and what is spliced together for these."""
_MADE_OF_EVENT_BYTES: Final = 768
_SERVER_ERRORS: Final = 500


class _Batch(NamedTuple):
    """What a body has, each event of its own."""

    key: str
    events: Sequence[bytes]
    read: Read


class SdkRoute:
    """Takes what SDKs send, whatever their protocol."""

    def __init__(  # noqa: PLR0913 - all that an SDK's events pass by
        self,
        intake: Intake,
        authenticator: Authenticator,
        bodies: BodyReader,
        aside: Aside,
        metrics: Metrics,
        limits: Limits,
        *,
        turns: Turns,
    ) -> None:
        self._intake = intake
        self._authenticator = authenticator
        self._bodies = bodies
        self._turns = turns
        self._keyless_bodies = BodyReader(min(limits.body_timeout_s, KEYLESS_TIMEOUT_S))
        self._aside = aside
        self._metrics = metrics
        self._limits = limits
        self._inflater = Inflater()

    async def take(self, request: web.BaseRequest, dialect: Dialect) -> web.Response:
        """Store the events of a request; raise Refusal."""
        try:
            keys = keys_of(request)
            if keys:
                self._authenticator.open(request, keys)  # before a byte of the body is asked for
            batch, size = await self._read(request, dialect, has_key=bool(keys))
            grant = self._authenticator.open(request, keys or [batch.key])
            require_allowed(grant, len(batch.events), size)
            await self._turns.take(grant.app.id)
            held_of(request).resize(_MADE * size + len(batch.events) * _MADE_OF_EVENT_BYTES)
            await self._store(grant, batch)
        except Refusal as refusal:
            self._metrics.refuse(refusal, app_id_of(request))
            raise
        return succeed(answers.SUCCESS)

    async def _read(
        self, request: web.BaseRequest, dialect: Dialect, *, has_key: bool
    ) -> tuple[_Batch, int]:
        """Return what a body has and its size; what has shown no key yet has a part of the room."""
        held = held_of(request) if has_key else keyless_of(request)
        bytes_max = min(self._limits.batch_bytes_max, BYTES_MAX if has_key else KEYLESS_BYTES_MAX)
        try:
            bodies = self._bodies if has_key else self._keyless_bodies
            body = await bodies.read(request, bytes_max, held)
            body = await self._inflated(request, body, held, bytes_max)
            held.resize(_MADE * len(body))
            return await self._split(await _taken_apart(body, dialect)), len(body)
        finally:
            if not has_key:
                held.count(0)

    async def _split(self, envelope: Envelope) -> _Batch:
        """Return each event of its own."""
        events = [envelope.events]
        if envelope.events.lstrip().startswith(b"["):
            events = await self._events_of(envelope.events)
        key = envelope.key
        if not key and envelope.key_of is not None:
            key = next(filter(None, map(envelope.key_of, events[:_LOOKED_AT])), "")
        return _Batch(key, events, envelope.read)

    async def _events_of(self, array: bytes) -> list[bytes]:
        limits = self._limits
        try:
            parts = await document.split(
                array,
                is_ndjson=False,
                events_max=limits.batch_events_max,
                event_bytes_max=limits.body_bytes_max,
            )
        except Refusal as refusal:
            if refusal.code is Code.EMPTY_BATCH:
                return []
            raise
        return [event for part in parts for event in _texts(part)]

    async def _inflated(
        self, request: web.BaseRequest, body: bytes, held: Share, bytes_max: int
    ) -> bytes:
        encoding = encoding_of(request) or (_GZIP if body.startswith(_GZIP_MAGIC) else "")
        if encoding:
            require_known(encoding)
            body = await self._inflater.inflate(body, encoding, bytes_max=bytes_max, held=held)
        return body

    async def _store(self, grant: Grant, batch: _Batch) -> None:
        drafts = await self._drafts(grant, batch)
        await self._set_aside(grant, batch, drafts.refusals)
        answer = BatchAnswer(drafts.rows, drafts.events)
        self._intake.accept_all(grant.app, drafts, answer)
        # Not cancelled when the client goes away: its events are on their way.
        outcomes = await answer.settled
        await self._turns.take(grant.app.id)
        late = {
            index: outcome
            for index, outcome in outcomes.uncommon.items()
            if isinstance(outcome, Refusal)
        }
        for refusal in late.values():
            if refusal.status >= _SERVER_ERRORS:
                raise refusal.anew()
        await self._set_aside(grant, batch, late)

    async def _drafts(self, grant: Grant, batch: _Batch) -> Drafts:
        """Understand all events; raise Refusal if the key may send none of them."""
        drafts, size = Drafts(wants_stored=False), 0
        bytes_max = self._limits.body_bytes_max
        for text in batch.events:
            drafted = draft(
                self._intake, grant, batch.read, text, bytes_max, wants_stored=drafts.wants_stored
            )
            drafts.add(drafted)
            size += _EVENT_BYTES + len(text)
            if size >= _TURN_BYTES:
                size = 0
                await self._turns.take_another(grant.app.id)
        codes = {refusal.code for refusal in drafts.refusals.values()}
        if not drafts.events and codes == {Code.EVENT_NAME_NOT_ALLOWED}:
            raise drafts.refusals[0].anew()
        for refusal in drafts.refusals.values():
            self._metrics.refuse(refusal, grant.app.id)
        return drafts

    async def _set_aside(
        self, grant: Grant, batch: _Batch, refusals: Mapping[int, Refusal]
    ) -> None:
        """Keep what can't be stored, but for what the key may not send; raise Refusal."""
        now_ms, unfit = time.time_ns() // 1_000_000, list[Unfit]()
        size = 0
        for index, refusal in refusals.items():
            text = batch.events[index]
            if refusal.code is not Code.EVENT_NAME_NOT_ALLOWED:
                unfit += _unfit(grant, batch, text, refusal, now_ms)
            size += _EVENT_BYTES + len(text)
            if size >= _TURN_BYTES:
                size = 0
                await self._turns.take_another(grant.app.id)
        if unfit:
            await self._aside.keep(grant.app.id, unfit, now_ms)


def _unfit(grant: Grant, batch: _Batch, text: bytes, reason: Refusal, now_ms: int) -> list[Unfit]:
    """Return an event as it is set aside; nothing if its key may not send events of its name."""
    found = _read_anyway(batch, text)
    if grant.limits is not None and refusal_of(grant.limits, found.name):
        return []
    event_id = foreign.aside_id(found, text, now_ms)
    params = leniency.original(found.params[:_KEPT_BYTES_MAX]).decode(errors="replace")
    name = found.name[:_NAME_CHARS_MAX]
    said = leniency.reason(reason, text)
    return [Unfit(event_id, name, params, foreign.moment_of(found), said)]


def _read_anyway(batch: _Batch, text: bytes) -> Foreign:
    """Return an event, or one without a name that has all of a text that can't be read."""
    try:
        return batch.read(text)
    except Refusal:
        return Foreign("", "", text, None, "")


def _texts(part: Part) -> Iterator[bytes]:
    """Yield events as they were sent; of those that look like ours, which are no SDK's, a name."""
    if isinstance(part, Events):
        yield from (msgspec.json.encode({"event_name": each.event_name}) for each in part.events)
    else:
        yield from part


async def _taken_apart(body: bytes, dialect: Dialect) -> Envelope:
    """Return what a body has; one that a parser refuses is looked through for what SDKs do."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body.isascii():
        require_utf8(body)
    try:
        return dialect(body)
    except Refusal:
        mended = await leniency.mended(body)
        if mended == body:
            raise
    return dialect(mended)
