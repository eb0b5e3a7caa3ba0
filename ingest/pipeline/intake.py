"""Intake: a request's body becomes a row in the queue and the answer that its sender will get."""

import orjson

from ingest.pipeline import event, rows
from ingest.pipeline.fate import Waiter
from ingest.pipeline.ids import IdSequence
from ingest.pipeline.queue import EventQueue


class Intake:
    """What every way in shares, so that all of them accept and answer the same."""

    def __init__(self, queue: EventQueue, *, event_name_chars_max: int) -> None:
        self._queue = queue
        self._event_name_chars_max = event_name_chars_max
        self._ids = IdSequence()
        self._row_heads: dict[int, bytes] = {}

    def accept(self, app_id: int, body: bytes, waiter: Waiter) -> bytes:
        """Queue one event and return the body of its 200, to be sent once `waiter` is told so.

        Raises Refusal, and then `waiter` is never told anything.
        """
        name, params = event.decode(body, self._event_name_chars_max)
        event_id, event_id_text, received = self._ids.next()
        head = self._row_heads.get(app_id) or self._make_row_head(app_id)
        row = rows.row(head, event_id, name.encode(), params, received.row)
        # Joined by hand: the params are sent back as they came, and nothing is encoded twice.
        answer = b"".join(
            (
                b'{"status":"success","data":[{"id":"',
                event_id_text,
                b'","event_name":',
                orjson.dumps(name),
                b',"event_params":',
                params,
                b',"created_at":"',
                received.text,
                b'"}]}',
            )
        )
        self._queue.put(row, waiter)  # last: whatever fails before it leaves no trace
        return answer

    def _make_row_head(self, app_id: int) -> bytes:
        # Bounded by the number of apps, which only the operator makes.
        head = self._row_heads[app_id] = rows.row_head(app_id)
        return head
