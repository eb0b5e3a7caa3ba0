"""A fast connection: plain events, one in the queue at a time; all else is handed to aiohttp."""

import asyncio
import time
from typing import Final, cast

import structlog

from ingest.delivery.outcome import COMMITTED, Duplicate, Outcome, Waiter
from ingest.errors import Refusal
from ingest.events import row_json
from ingest.http import cors
from ingest.http.budget import FREE_BYTES, Share
from ingest.http.duplicates import headers_of
from ingest.http.fastlane import FastLane
from ingest.http.head import END_OF_HEAD, HEAD_BYTES_MAX, REQUEST_BYTES_MAX, REQUEST_LINE, Head
from ingest.http.request_id import headers_of_id
from ingest.http.responses import CLOSING, NONE, head_raw, refuse_raw, status_of
from ingest.http.unsent import unsent_bytes
from ingest.observe.metrics import EVENT_ROUTE

log = structlog.get_logger(__name__)

PIECES_MAX: Final = 16
"""In so many pieces an incomplete request may come."""


class FastConnection(asyncio.Protocol):
    """One connection: at most one event in the queue, the bytes behind it wait."""

    __slots__ = (
        "_answer",
        "_buffer",
        "_held",
        "_is_half_closed",
        "_is_reading_paused",
        "_is_writing_paused",
        "_lane",
        "_pieces",
        "_since_s",
        "_transport",
        "_unsent_bytes",
    )

    def __init__(self, lane: FastLane) -> None:
        self._lane = lane
        # Of the connection
        self._transport: asyncio.Transport | None = None
        self._held = Share(lane.budget)
        self._is_half_closed = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._unsent_bytes = 0
        self._since_s = lane.now_s  # its last activity
        # Of the request
        self._buffer = b""
        self._pieces = 0
        self._answer: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the connections that are swept."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=FREE_BYTES)
        self._lane.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Leave the connections that are swept; a queued event goes on with nobody to answer."""
        self._transport = None
        self._held.count(0)
        self._lane.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Serve what is complete; keep the rest."""
        if self._buffer:
            data = self._buffer + data
        if self._answer is not None or self._is_writing_paused:
            self._hold(data)
        else:
            self._serve(data)

    def eof_received(self) -> bool:
        """Keep the sending side open while an answer is due."""
        self._is_half_closed = True
        if self._answer is None and self._buffer:
            self._hand_over(self._buffer)
            return True
        return self._answer is not None

    def pause_writing(self) -> None:
        """Serve nothing more until the peer reads its answers."""
        self._is_writing_paused = True
        self._unsent_bytes = 0
        self._pause_reading()
        if self._transport is not None and not self._held.try_resize(self._waiting_bytes()):
            self._transport.abort()  # it reads nothing, and others need the room

    def resume_writing(self) -> None:
        """Go on with what waited."""
        self._is_writing_paused = False
        self._since_s = self._lane.now_s
        self._go_on()

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Answer the request; called by the writer once the event's outcome is known."""
        answer, self._answer = self._answer, None
        transport = self._transport
        if transport is None or answer is None:
            return
        lane = self._lane
        self._since_s = lane.now_s
        if outcome is COMMITTED and not lane.is_stopping and not self._is_half_closed:
            transport.write(b"%b%d\r\n\r\n%b" % (lane.success_head, len(answer), answer))
            lane.metrics.committed_answers += 1
        else:
            self._write_uncommon(transport, answer, outcome)
        if self._buffer or self._is_half_closed or self._is_reading_paused:
            self._go_on()

    def settle_attended(self, outcome: Outcome, head: Head, started_s: float) -> None:
        """Answer a request that has an id, or is logged."""
        answer, self._answer = self._answer, None
        transport = self._transport
        if transport is None or answer is None:
            return
        lane = self._lane
        self._since_s = lane.now_s
        if outcome is COMMITTED and not lane.is_stopping and not self._is_half_closed:
            transport.write(lane.success(answer, head.request_id))
            lane.metrics.committed_answers += 1
        else:
            self._write_uncommon(transport, answer, outcome, head)
        if not isinstance(outcome, Refusal):
            lane.note(head, status_of(outcome), started_s=started_s)
        self._go_on()

    def sweep(self, last_sweep_s: float, idle_since_s: float) -> None:
        """Hand over a request that has been incomplete since the last sweep; close when idle."""
        transport = self._transport
        if transport is None or self._answer is not None:
            return
        is_stuck = self._is_writing_paused or transport.is_closing()
        if is_stuck:
            self._note_reading(transport)
        if self._buffer and not is_stuck:
            # However late this sweep is: closed as idle it would have no 408.
            if self._since_s < last_sweep_s:
                self._hand_over(self._buffer)
        elif self._since_s < idle_since_s:
            self._end_idle(transport, is_stuck=is_stuck)

    def _note_reading(self, transport: asyncio.Transport) -> None:
        """Count a peer as active that took something of the answers that wait for it."""
        last_bytes, self._unsent_bytes = self._unsent_bytes, unsent_bytes(transport)
        if self._unsent_bytes < last_bytes:
            self._since_s = self._lane.now_s

    def _end_idle(self, transport: asyncio.Transport, *, is_stuck: bool) -> None:
        """Close; at once if answers wait for a peer that does not read them."""
        if is_stuck:
            transport.abort()
        else:
            self._since_s = self._lane.now_s  # as long again for what is left in the transport
            transport.close()

    def hand_over_incomplete(self) -> None:
        """Let aiohttp wait for the rest of a request that has begun."""
        if self._buffer and self._answer is None:
            self._hand_over(self._buffer)

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due."""
        return self._answer is not None

    def close(self) -> None:
        """Close once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def _serve(self, data: bytes) -> None:  # noqa: C901 - a call more costs an event 0.05 µs
        end = data.find(END_OF_HEAD) + 4
        if end < 4:  # noqa: PLR2004 - not found
            could_be = data.startswith(REQUEST_LINE[: len(data)]) and len(data) < HEAD_BYTES_MAX
            self._wait(data, could_be=could_be)
            return
        head_bytes = data[:end]
        lane = self._lane
        head = lane.heads[head_bytes]
        if head is None:
            self._hand_over(data)
            return
        size = head.request_bytes
        if len(data) < size:
            self._wait(data, could_be=self._held.try_resize(len(data)))
            return
        try:
            if head.is_plain:
                self._answer = lane.intake.accept(head.app, data[end:size], self)
            elif (waiter := self._attend(head)) is not None:
                self._answer = lane.intake.accept(head.app, data[end:size], waiter)
            else:
                self._refuse_over(data[size:], head)
                return
        except Refusal as refusal:
            lane.metrics.refuse(refusal, head.app.id)
            self._refuse(refusal, data[size:], head)
            return
        except Exception:  # noqa: BLE001 - aiohttp's lane comes to the same end, and answers
            self._hand_over(data)
            return
        self._buffer = data[size:]
        if self._buffer or self._pieces:
            self._pieces = 0
            self._hold(self._buffer)

    def _attend(self, head: Head) -> Waiter | None:
        """Return who waits for an event of no plain head; None if it is over a limit."""
        allowance = head.allowance
        if allowance is not None and not allowance.take(1, head.body_bytes):
            return None
        return _Attended(self, head) if head.is_attended else self

    def _refuse_over(self, rest: bytes, head: Head) -> None:
        """Answer an event that is over a limit, for less than what one within it costs."""
        lane, allowance = self._lane, head.allowance
        if allowance is None or self._transport is None:
            return
        if head.is_attended or lane.is_stopping or (self._is_half_closed and not rest):
            refusal = allowance.refusal()
            lane.metrics.refuse(refusal, head.app.id)
            self._refuse(refusal, rest, head)
            return
        over = lane.overs[allowance]
        over.count += 1
        lane.metrics.over_answers += 1
        self._transport.write(over.answer)
        self._go_on_with(rest)

    def _refuse(self, refusal: Refusal, rest: bytes, head: Head) -> None:
        """Answer an event that the intake refuses; the connection goes on."""
        self._buffer = rest
        if self._transport is not None:
            self._write_uncommon(self._transport, b"", refusal, head)
        self._go_on_with(self._buffer)

    def _go_on_with(self, rest: bytes) -> None:
        """Go on behind a refusal."""
        self._since_s = self._lane.now_s
        self._pieces = 0
        self._buffer = rest
        self._held.count(len(rest))
        if self._buffer:
            # Later, so that many of them in one piece do not nest, nor stop the loop.
            asyncio.get_running_loop().call_soon(self._go_on)

    def _wait(self, data: bytes, *, could_be: bool) -> None:
        """Keep an incomplete request, or hand over what can't become one that is accepted."""
        self._pieces += 1
        if not could_be or self._pieces > PIECES_MAX or len(data) > REQUEST_BYTES_MAX:
            self._hand_over(data)
            return
        if not self._buffer:
            self._since_s = self._lane.now_s
        self._buffer = data

    def _hold(self, data: bytes) -> None:
        """Keep what was pipelined; stop reading when it is much, for ever if there is no room."""
        self._buffer = data
        if not self._held.try_resize(self._waiting_bytes()):
            self._buffer = b""
            self._is_half_closed = True
            self._held.count(0)
            self._pause_reading()
        elif len(data) > REQUEST_BYTES_MAX:
            self._pause_reading()

    def _waiting_bytes(self) -> int:
        """Return what is received and not answered, and what of the answers is not sent."""
        if self._transport is None or not self._is_writing_paused:
            return len(self._buffer)
        return len(self._buffer) + self._transport.get_write_buffer_size()

    def _go_on(self) -> None:
        """After an answer: serve what was pipelined, or end."""
        transport = self._transport
        if transport is None or self._is_writing_paused or self._answer is not None:
            return
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._serve(data)
        if self._transport is None:  # handed over
            return
        self._held.count(len(self._buffer))
        if self._answer is None and self._is_half_closed:
            self._end(transport)
        elif self._is_reading_paused and len(self._buffer) <= REQUEST_BYTES_MAX:
            self._is_reading_paused = False
            transport.resume_reading()

    def _end(self, transport: asyncio.Transport) -> None:
        """Close behind the last answer; what is left of an incomplete request is aiohttp's."""
        if self._buffer:
            self._hand_over(self._buffer)
        else:
            transport.close()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _write_uncommon(
        self,
        transport: asyncio.Transport,
        answer: bytes,
        outcome: Outcome,
        head: Head | None = None,
    ) -> None:
        """Answer what is not the common case; close behind the last answer."""
        lane = self._lane
        is_last = lane.is_stopping or (self._is_half_closed and not self._buffer)
        told = headers_of_id(head.request_id) if head else NONE
        if isinstance(outcome, Refusal):
            transport.write(refuse_raw(outcome, told, is_last=is_last))
            lane.metrics.answers[EVENT_ROUTE, outcome.status] += 1
            lane.note(head, outcome.status, outcome.code)
        else:
            headers = {**(CLOSING if is_last else NONE), **headers_of(outcome), **told}
            if isinstance(outcome, Duplicate):
                answer = row_json.body(outcome.row)
            status = status_of(outcome)
            lane.metrics.answers[EVENT_ROUTE, status] += 1
            start = head_raw(status, {**cors.headers_for(headers), **headers})
            transport.write(b"%b%d\r\n\r\n%b" % (start, len(answer), answer))
        if is_last:
            self._buffer = b""
            transport.close()

    def _hand_over(self, data: bytes) -> None:
        """Give the connection to aiohttp for good, with every byte that it has not answered."""
        transport = self._transport
        if transport is None:
            return
        self._lane.connections.discard(self)
        self._transport = None
        self._buffer = b""
        self._held.count(0)
        successor = self._lane.make_successor()
        try:
            transport.set_protocol(successor)
            successor.connection_made(transport)
            if self._is_reading_paused:
                transport.resume_reading()
            if self._is_writing_paused:
                successor.pause_writing()
            successor.data_received(data)
            if self._is_half_closed and not successor.eof_received():
                transport.close()
        except Exception:
            # Whoever called, a sweep or another's commit, must not pay for this connection.
            log.exception("a connection could not be handed over")
            transport.abort()


class _Attended:
    """Who waits for the outcome of a request that has an id, or is logged."""

    __slots__ = ("_connection", "_head", "_started_s")

    def __init__(self, connection: FastConnection, head: Head) -> None:
        self._connection = connection
        self._head = head
        self._started_s = time.monotonic()

    def settle(self, outcome: Outcome, _row: bytes = b"") -> None:
        """Answer the request."""
        self._connection.settle_attended(outcome, self._head, self._started_s)
