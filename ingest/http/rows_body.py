"""The body of a long answer: rows as JSON, joined and sent piece by piece.

At once, 16 MiB would be held twice, and others would wait for 50 ms while they are copied.
"""

import asyncio
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

PIECE_BYTES: Final = 65_536
"""A piece ends with the row that makes it as long."""


def rows_body(opening: bytes, rows: list[bytes], closing: bytes) -> "bytes | RowsBody":
    """Return rows, divided by commas, between an opening and a closing."""
    body = RowsBody(opening, rows, closing)
    return body if body.bytes > PIECE_BYTES else body.joined()


class RowsBody(Payload):
    """A body that takes rows from the list as they are sent."""

    def __init__(self, opening: bytes, rows: list[bytes], closing: bytes) -> None:
        super().__init__(rows)
        self._opening = opening
        self._rows = rows
        self._closing = closing
        self.bytes = len(opening) + sum(map(len, rows)) + max(0, len(rows) - 1) + len(closing)
        self._size = self.bytes

    def joined(self) -> bytes:
        """Return all of it."""
        return b"%b%b%b" % (self._opening, b",".join(self._rows), self._closing)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return all of it as text."""
        return self.joined().decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send each piece when the client has taken the one before."""
        seam = self._opening
        while self._rows:
            piece = self._take()
            await writer.write(b"%b%b%b" % (seam, piece, b"" if self._rows else self._closing))
            await writer.drain()
            await asyncio.sleep(0)  # one that keeps up is not waited for, and there are others
            seam = b","

    def _take(self) -> bytes:
        size = rows = 0
        while size < PIECE_BYTES and rows < len(self._rows):
            size += len(self._rows[rows])
            rows += 1
        piece = b",".join(self._rows[:rows])
        del self._rows[:rows]
        return piece
