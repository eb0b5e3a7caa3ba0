"""Intake: a request's body becomes a row in the queue and the answer that its sender will get.

Most events are plain: the server makes their ids, so no other event can have one of them, and they
go by COPY. An event that its client may send again, because it has an id or an Idempotency-Key,
goes through the dedup queue, which stores it once and answers with what is stored; so does one of a
time that has no partition, or not one of the newest: there it is seen to that a transaction doesn't
touch too many of them. An app in quarantine has one queue for all of its events.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ingest.delivery.outcome import BatchWaiter, Unchecked, Waiter
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.errors import Refusal
from ingest.events import client_fields, copy_format, event, foreign, row_json
from ingest.events.client_fields import ClientFields, Span
from ingest.events.drafts import Draft, Drafts
from ingest.events.event import Decoded, Event, Events
from ingest.events.foreign import Foreign
from ingest.events.ids import IdSequence, Moment, id_text, moved
from ingest.store.apps import App

_SAYS_NOTHING = ClientFields()


class _Route(NamedTuple):
    """What an app's rows begin with, and where they go."""

    head: bytes
    plain: EventQueue
    dedup: EventQueue


class Intake:
    """What every way in shares, so that all of them accept and answer the same."""

    def __init__(
        self,
        queues: Queues,
        *,
        event_name_chars_max: int,
        span: Span,
        has_partition: Callable[[int], bool],
    ) -> None:
        self._queues = queues
        self._event_name_chars_max = event_name_chars_max
        self._span = span
        self._has_partition = has_partition
        """Whether there is one of the newest for a Unix time in milliseconds."""
        self._ids = IdSequence()
        self._routes: dict[int, _Route] = {}
        """By app. Bounded by their number, which only the operator raises."""
        queues.on_change(self._routes.clear)

    def accept(self, app: App, body: bytes, waiter: Waiter, key: bytes | None = None) -> bytes:
        """Queue one event and return the body of its 200, to be sent once `waiter` is told so.

        `key` is the 16 bytes that stand for an Idempotency-Key. Raises Refusal, and then `waiter`
        is never told anything.
        """
        decoded = name, params, uncommon = event.decode(body, self._event_name_chars_max)
        event_id, event_id_text, received = self._ids.next()
        head, plain, dedup = self._routes.get(app.id) or self._make_route(app.id)
        if uncommon is None and key is None:
            # By itself, not as a draft: 2.5 µs for all of this (`python -m bench stages`), not 2.8.
            queue, row = (
                plain,
                copy_format.row(head, event_id, name.encode(), params, received.row),
            )
            body = row_json.plain_body(event_id_text, name, params, received.text)
        else:
            said = self._said(decoded, received)
            if said.id is None:  # an id is as good as a key, and for ever
                said = said._replace(key=key)
            draft = self._draft(head, event_id, received, decoded, said)
            queue = dedup if draft.needs_dedup else plain
            row, body = draft.row, row_json.body(draft.stored)
            waiter = Unchecked(waiter) if draft.is_retryable else waiter
        queue.put(row, waiter)  # last: whatever fails before it leaves no trace
        return body

    def accept_foreign(self, app: App, found: Foreign, waiter: Waiter) -> bytes:
        """Do what `accept` does with an event of another protocol."""
        draft = self.draft_foreign(app, found)
        if isinstance(draft, Refusal):
            raise draft
        route = self._route(app)
        queue = route.dedup if draft.needs_dedup else route.plain
        queue.put(draft.row, Unchecked(waiter) if draft.is_retryable else waiter)
        return row_json.body(draft.stored)

    def name_of(self, body: bytes) -> str:
        """Return the name of an event, for keys that may send some only; raise Refusal."""
        return event.decode(body, self._event_name_chars_max)[0]

    def accept_all(self, app: App, drafts: Drafts, waiter: BatchWaiter) -> None:
        """Queue all events of a batch or none; raise Refusal if they don't fit.

        Those of the plain queue share the one waiter, which tells them apart by their rows; the
        dedup queue may have two rows that are alike.
        """
        ways, plain = self._queues.of(app.id), drafts.plain
        dedup = sorted(drafts.dedup)
        dedup_rows = [drafts.rows[index] for index in dedup]
        if ways.plain is ways.dedup:
            ways.plain.require([*plain, *dedup_rows])
        else:
            ways.plain.require(plain)
            ways.dedup.require(dedup_rows)
        ways.plain.put_all(plain, [waiter] * len(plain))
        waiters = [waiter.of(index) for index in dedup]
        ways.dedup.put_all(
            dedup_rows,
            [
                Unchecked(each) if index in drafts.retryable else each
                for index, each in zip(dedup, waiters, strict=True)
            ],
        )

    def draft(self, app: App, body: bytes) -> Draft | Refusal:
        """Return the draft of one event of a batch, or why it is refused."""
        try:
            decoded = event.decode(body, self._event_name_chars_max)
            event_id, _, received = self._ids.next()
            said = self._said(decoded, received)
            return self._draft(self._route(app).head, event_id, received, decoded, said)
        except Refusal as refusal:
            return refusal.anew()

    def draft_foreign(
        self, app: App, found: Foreign, *, wants_stored: bool = True
    ) -> Draft | Refusal:
        """Return the draft of an event of another protocol, or why it is refused."""
        event_id, _, received = self._ids.next()
        params, said = foreign.read(found, self._span, received.unix_ms)
        content = Event(found.name, msgspec.Raw(params))
        try:
            decoded = event.check(content, params, self._event_name_chars_max)
            head = self._route(app).head
            return self._draft(head, event_id, received, decoded, said, wants_stored=wants_stored)
        except Refusal as refusal:
            return refusal.anew()

    def draft_all(self, app: App, found: Events, drafts: Drafts) -> None:
        """Add events that were decoded together, as `draft` does one by one.

        All are drafted by column as if they were usual, and then those again that are not: with
        decoding and filing 1.1 µs each, where `accept` takes 2.5 (`python -m bench stages`).
        """
        stamps = self._ids.take(len(found.events))
        head, received = self._route(app).head, stamps.received
        names = [each.event_name for each in found.events]
        params = [bytes(each.event_params) for each in found.events]
        start = len(drafts.rows)
        drafts.rows += copy_format.many(
            head + stamps.head, stamps.lows, names, params, received.row
        )
        if drafts.wants_stored:
            drafts.stored += row_json.encode_plain(
                stamps.head_text, stamps.low_texts, names, params, received.text
            )
        for index in event.unusual(found, names, params, self._event_name_chars_max):
            event_id = stamps.head + stamps.lows[index]
            drafted = self._draft_again(
                head, event_id, received, found.events[index], params[index]
            )
            if drafted is not None:
                drafts.replace(start + index, drafted)

    def _draft_again(
        self, head: bytes, event_id: bytes, received: Moment, found: Event, params: bytes
    ) -> Draft | Refusal | None:
        """Return what an event is, or why it is none; None if it is a usual one after all."""
        try:
            decoded = event.check(found, params, self._event_name_chars_max)
            if decoded == (found.event_name, params, None):
                return None
            said = self._said(decoded, received)
            return self._draft(head, event_id, received, decoded, said)
        except Refusal as refusal:
            return refusal.anew()

    def _draft(
        self,
        head: bytes,
        event_id: bytes,
        received: Moment,
        decoded: Decoded,
        said: ClientFields,
        *,
        wants_stored: bool = True,
    ) -> Draft:
        """Return the draft of any event, with all that its client says of it."""
        name, params, _ = decoded
        event_id, needs_dedup = self._place(event_id, said)
        is_retryable = said.id is not None or said.key is not None
        optional = said.optional
        tail = copy_format.tail(received.micros, optional)
        row = copy_format.row(head, event_id, name.encode(), params, tail)
        stored = b""
        if wants_stored:
            stored = row_json.encode(id_text(event_id), name, params, received.text, optional)
        return Draft(row, stored, needs_dedup, is_retryable)

    def _said(self, decoded: Decoded, received: Moment) -> ClientFields:
        """Return what a client says of its event beyond its content; raise Refusal."""
        uncommon = decoded[2]
        if uncommon is None:
            return _SAYS_NOTHING
        return client_fields.read(uncommon, self._span, received.unix_ms)

    def _place(self, event_id: bytes, said: ClientFields) -> tuple[bytes, bool]:
        """Return the id that the event gets, and whether it takes the dedup queue."""
        if said.id is not None:
            return said.id, True
        if said.happened_ms is None:
            return event_id, said.key is not None
        has_partition = self._has_partition(said.happened_ms)
        return moved(event_id, said.happened_ms), said.key is not None or not has_partition

    def _route(self, app: App) -> _Route:
        return self._routes.get(app.id) or self._make_route(app.id)

    def _make_route(self, app_id: int) -> _Route:
        self._queues.meet(app_id)
        head, ways = copy_format.row_head(app_id), self._queues.of(app_id)
        route = self._routes[app_id] = _Route(head, ways.plain, ways.dedup)
        return route
