"""A body: its bytes, the events found in it so far, and white space of any length."""

import asyncio
from collections.abc import Sequence
from typing import Final

from ingest.errors import Code, Refusal
from ingest.pipeline.document import bounds
from ingest.pipeline.document.expressions import BLANK, end_of

WHITE_SPACE: Final = b" \t\r\n"


class Body:
    """One body. Every method that is awaited gives others a turn for every piece it walks."""

    def __init__(self, text: bytes, events_max: int, event_bytes_max: int) -> None:
        self.text: Final = text
        self.event_bytes_max: Final = event_bytes_max
        self.events: list[bytes] = []
        self._events_max = events_max

    def take(self, events: Sequence[bytes]) -> None:
        """Copy events or views, each cut behind one byte too many; raise Refusal for too many."""
        if len(self.events) + len(events) > self._events_max:
            raise Refusal(
                Code.PAYLOAD_TOO_LARGE, f"The body may have {self._events_max} events at most."
            )
        stop = self.event_bytes_max + 1
        # 0.1 µs each; a view would keep the whole document for as long as one of its events waits.
        self.events += [event[:stop] for event in map(bytes, events)]

    async def add(self, events: Sequence[bytes]) -> None:
        """Take the events of a piece, and give others a turn."""
        self.take(events)
        await asyncio.sleep(0)

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
