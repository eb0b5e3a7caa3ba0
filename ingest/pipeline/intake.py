"""Intake: a request's body becomes a row in the queue and the answer that its sender will get.

There are two lanes to Postgres. Most events are plain: the server makes their ids, so no other
event can have one of them, and they go by COPY. An event that its client may send again, because it
has an id or an Idempotency-Key, goes through the careful lane, which stores it once and answers
with what is stored; so does one of a time that has no partition yet.
"""

from collections.abc import Callable, Sequence

from ingest.errors import Refusal
from ingest.pipeline import answer, claims, event, rows, tuples
from ingest.pipeline.claims import Claims, Span
from ingest.pipeline.event import Event
from ingest.pipeline.fate import Waiter
from ingest.pipeline.ids import IdSequence, Moment, id_text, moved
from ingest.pipeline.lanes import Lanes
from ingest.pipeline.queue import EventQueue

Draft = tuple[bytes, bytes, EventQueue]
"""An event that is understood and stamped, and not yet accepted: its COPY tuple, its row as JSON,
and the lane that it is to take. A bare tuple: a named one costs 0.1 µs more."""

_SAYS_NOTHING = Claims(None, None)


class Intake:
    """What every way in shares, so that all of them accept and answer the same."""

    def __init__(
        self,
        lanes: Lanes,
        *,
        event_name_chars_max: int,
        span: Span,
        has_partition: Callable[[int], bool],
    ) -> None:
        self._lanes = lanes
        self._plain = lanes.plain
        self._event_name_chars_max = event_name_chars_max
        self._span = span
        self._has_partition = has_partition
        """Of a Unix time in milliseconds."""
        self._ids = IdSequence()
        self._row_heads: dict[int, bytes] = {}

    def accept(self, app_id: int, body: bytes, waiter: Waiter, key: bytes | None = None) -> bytes:
        """Queue one event and return the body of its 200, to be sent once `waiter` is told so.

        `key` is the 16 bytes that stand for an Idempotency-Key. Raises Refusal, and then `waiter`
        is never told anything.
        """
        name, params, uncommon = event.decode(body, self._event_name_chars_max)
        event_id, event_id_text, received = self._ids.next()
        head = self._row_heads.get(app_id) or self._make_row_head(app_id)
        if uncommon is None and key is None:
            # By itself, not as a draft: 2.36 µs for all of this, where it was 2.6.
            queue, row = self._plain, rows.row(head, event_id, name.encode(), params, received.row)
            body = answer.alone_of(event_id_text, name, params, received.text)
        else:
            row, stored, queue = self._draft_uncommon(
                head, event_id, name, params, uncommon, key, received
            )
            body = answer.alone(stored)
        queue.put(row, waiter)  # last: whatever fails before it leaves no trace
        return body

    def accept_all(self, drafts: Sequence[Draft], waiters: Sequence[Waiter]) -> None:
        """Queue all of these, each with its waiter, or none; raise Refusal if they don't fit."""
        filed = [_file(lane, drafts, waiters) for lane in self._lanes.both]
        for lane, lane_rows, _ in filed:
            if lane_rows:
                lane.require(len(lane_rows), sum(map(len, lane_rows)))
        for lane, lane_rows, lane_waiters in filed:
            if lane_rows:
                lane.put_all(lane_rows, lane_waiters)

    def draft(self, app_id: int, body: bytes) -> Draft:
        """Return what is to be stored and answered for an event; raise Refusal."""
        name, params, uncommon = event.decode(body, self._event_name_chars_max)
        event_id, event_id_text, received = self._ids.next()
        head = self._row_heads.get(app_id) or self._make_row_head(app_id)
        if uncommon is not None:
            return self._draft_uncommon(head, event_id, name, params, uncommon, None, received)
        row = rows.row(head, event_id, name.encode(), params, received.row)
        stored = answer.row_json(event_id_text, name, params, received.text, None)
        return row, stored, self._plain

    def draft_all(self, app_id: int, bodies: Sequence[bytes]) -> list[Draft | Refusal]:
        """Do as `draft` does for bodies that are well-formed JSON, each alone: 2.3 -> 1.2 µs."""
        found = event.decode_all(bodies)
        if found is None:
            return [self.draft_or_refuse(app_id, body) for body in bodies]
        events, may_escape, may_exceed = found
        ids, received = self._ids.take(len(events))
        head = self._row_heads.get(app_id) or self._make_row_head(app_id)
        plain, chars_max = self._plain, self._event_name_chars_max
        times, end = received.row, answer.end_part(received.text)
        names: dict[str, tuple[bytes, bytes]] = {}
        drafts: list[Draft | Refusal] = []
        for each, (event_id, event_id_text) in zip(events, ids, strict=True):
            name = each.event_name
            try:
                params = event.params_of(
                    each, chars_max, may_escape=may_escape, may_exceed=may_exceed
                )
                if each.id is not None or each.timestamp is not None:
                    drafts.append(
                        self._draft_uncommon(head, event_id, name, params, each, None, received)
                    )
                    continue
            except Refusal as refusal:
                drafts.append(refusal.anew())
                continue
            in_row, in_answer = names.get(name) or _remember(names, name)
            row = rows.row_of(head, event_id, in_row, params, times)
            drafts.append((row, answer.row_of(event_id_text, in_answer, params, end), plain))
        return drafts

    def draft_or_refuse(self, app_id: int, body: bytes) -> Draft | Refusal:
        """Do as `draft` does, and return what it would raise."""
        try:
            return self.draft(app_id, body)
        except Refusal as refusal:
            return refusal.anew()

    def _draft_uncommon(  # noqa: PLR0913, PLR0917 - all that is known of the event
        self,
        head: bytes,
        event_id: bytes,
        name: str,
        params: bytes,
        uncommon: Event | None,
        key: bytes | None,
        received: Moment,
    ) -> Draft:
        said = _SAYS_NOTHING if uncommon is None else self._read(uncommon, received)
        event_id, queue = self._place(event_id, said, key)
        key = key if said.id is None else None  # its id is as good, and for ever
        times = rows.tail(received.micros, said.timestamp_us, key)
        happened = None if said.timestamp_us is None else tuples.rfc3339(said.timestamp_us).encode()
        row = rows.row(head, event_id, name.encode(), params, times)
        stored = answer.row_json(id_text(event_id), name, params, received.text, happened)
        return row, stored, queue

    def _read(self, uncommon: Event, received: Moment) -> Claims:
        return claims.read(uncommon, self._span, received.unix_ms)

    def _place(self, event_id: bytes, said: Claims, key: bytes | None) -> tuple[bytes, EventQueue]:
        """Return the id that the event gets, and the lane that it takes."""
        lanes = self._lanes
        if said.id is not None:
            return said.id, lanes.careful
        if said.timestamp_ms is None:
            return event_id, lanes.careful
        is_plain = key is None and self._has_partition(said.timestamp_ms)
        return moved(event_id, said.timestamp_ms), lanes.plain if is_plain else lanes.careful

    def _make_row_head(self, app_id: int) -> bytes:
        # Bounded by the number of apps, which only the operator makes.
        head = self._row_heads[app_id] = rows.row_head(app_id)
        return head


def _file(
    lane: EventQueue, drafts: Sequence[Draft], waiters: Sequence[Waiter]
) -> tuple[EventQueue, list[bytes], Sequence[Waiter]]:
    """Return a lane with the rows and the waiters of the drafts that are to take it."""
    lane_rows = [row for row, _, queue in drafts if queue is lane]
    if len(lane_rows) == len(drafts):
        return lane, lane_rows, waiters
    pairs = zip(drafts, waiters, strict=True)
    return lane, lane_rows, [waiter for (_, _, queue), waiter in pairs if queue is lane]


def _remember(names: dict[str, tuple[bytes, bytes]], name: str) -> tuple[bytes, bytes]:
    """Return what a name is in a row and in an answer."""
    parts = names[name] = rows.name_field(name.encode()), answer.name_part(name)
    return parts
