"""A body: its bytes, the events found in it so far, and white space of any length."""

import asyncio
from collections.abc import Sequence
from typing import Final

from ingest.errors import Code, Refusal
from ingest.events.document import bounds
from ingest.events.document.walker import BLANK, end_of
from ingest.events.event import Events, decode_array

Part = Events | list[bytes]
"""Some of a document's events, in order: decoded together, or the bytes of each, where they are no
events, or may be too long."""

WHITE_SPACE: Final = b" \t\r\n"


class Body:
    """One body. Every method that is awaited gives others a turn for every piece it walks."""

    def __init__(self, text: bytes, events_max: int, event_bytes_max: int) -> None:
        self.text: Final = text
        self.event_bytes_max: Final = event_bytes_max
        self.parts: list[Part] = []
        self.events = 0
        """So many are in the parts."""
        self._events_max = events_max

    def take_decoded(self, array: bytes) -> bool:
        """Decode an array's events together; return whether all of them are some."""
        if len(array) > self.event_bytes_max:  # one of them may be too long
            return False
        decoded = decode_array(array)
        if decoded is None or not decoded.events:
            return False
        self._count(len(decoded.events))
        self.parts.append(decoded)
        return True

    def take(self, events: Sequence[bytes]) -> None:
        """Copy events or views, each cut behind one byte too many; raise Refusal for too many."""
        self._count(len(events))
        stop = self.event_bytes_max + 1
        # A view would keep the whole document for as long as one of its events waits.
        self.parts.append([event[:stop] for event in map(bytes, events)])

    async def add(self, events: Sequence[bytes]) -> None:
        """Take the events of a piece, and give others a turn."""
        self.take(events)
        await asyncio.sleep(0)

    async def add_decoded(self, array: bytes) -> bool:
        """Take the events of a piece if all are some; then give others a turn."""
        is_taken = self.take_decoded(array)
        if is_taken:
            await asyncio.sleep(0)
        return is_taken

    def _count(self, events: int) -> None:
        self.events += events
        if self.events > self._events_max:
            raise Refusal(
                Code.PAYLOAD_TOO_LARGE, f"The body may have {self._events_max} events at most."
            )

    def cut(self, start: int, end: int) -> bytes:
        """Return an event of any length, without a copy of more than is taken of it."""
        return self.text[start : min(end, start + self.event_bytes_max + 1)]

    async def skip_space(self, start: int) -> int:
        """Return where the next character stands that is no white space."""
        while True:
            stop = min(start + bounds.PIECE_BYTES, len(self.text))
            start = end_of(BLANK, self.text, start, stop)
            if start < stop or stop == len(self.text):
                return start
            await asyncio.sleep(0)

    async def trim_space(self, start: int, end: int) -> int:
        """Return the end without the white space in front of it."""
        while end > start:
            first = max(start, end - bounds.PIECE_BYTES)
            kept = len(self.text[first:end].rstrip(WHITE_SPACE))
            if kept:
                return first + kept
            end = first
            await asyncio.sleep(0)
        return end
