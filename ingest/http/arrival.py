"""What a connection has received and is not parsed yet, in pieces that are each of one request.

A piece ends at the latest where a head does, or a body. Where that is, is only read here: the
parser decides what it means, and whoever gives it the pieces refuses to go on where it disagrees.
"""

from typing import Final

from ingest.http.chunks import Chunks

WHOLE_HEAD_BYTES_MAX: Final = 16_384
"""The longest head; 62 headers of 8 KB cost 1 MB on each of 10,000 connections, without a key."""
CHUNKED_BYTES: Final = 16_384
"""A piece of a chunked body."""
SIZED_BYTES: Final = 65_536
"""A piece of one whose length is known."""
_LINE_BYTES: Final = 384
"""What the parser makes of a header beyond two copies: two tuples and four strings."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_SEAM_BYTES: Final = len(_END_OF_HEAD) - 1


class Arrival:
    """The bytes that are not parsed, and how far the request in front has got."""

    __slots__ = ("_at", "_body_bytes", "_chunks", "_last", "_lines", "_received", "framing_bytes")

    def __init__(self) -> None:
        self._received = b""
        self._at = 0
        """So many of them are taken."""
        self._last = b""
        """The end of what was taken last of a head: its empty line may come in two pieces."""
        self._body_bytes = 0
        """So many are still to come of a body whose length is known."""
        self._chunks: Chunks | None = None
        """A chunked body that goes on."""
        self.framing_bytes = 0
        """How much was taken of an incomplete head, or of what stands around a chunked body."""
        self._lines = 0
        """So many lines it has."""

    def __bool__(self) -> bool:
        return self._at < len(self._received)

    @property
    def held_bytes(self) -> int:
        """What all of it takes in memory, and what the parser holds of a head or trailer."""
        return len(self._received) + 2 * self.framing_bytes + _LINE_BYTES * self._lines

    @property
    def is_in_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return self.framing_bytes > 0 and self._chunks is None

    @property
    def excess_bytes(self) -> int:
        """How much more that is than it may be; all of it is the end of the last piece."""
        return max(0, self.framing_bytes - WHOLE_HEAD_BYTES_MAX)

    @property
    def is_between(self) -> bool:
        """Whether no part was taken of a request that has more parts."""
        return not (self.framing_bytes or self._body_bytes or self._chunks)

    def add(self, data: bytes) -> None:
        """Keep what was received."""
        self._received = self._received[self._at :] + data if self else data
        self._at = 0

    def begin_body(self, size: int | None) -> None:
        """Expect a body of so many bytes behind the head; None for one in chunks."""
        if size is None:
            self._chunks = Chunks()
        else:
            self._body_bytes = size

    def take(self) -> bytes:
        """Return the next piece, nothing if all is taken."""
        if self._chunks is not None:
            return self._take_chunks(self._chunks)
        if self._body_bytes:
            piece = self._take(min(self._body_bytes, SIZED_BYTES))
            self._body_bytes -= len(piece)
            return piece
        return self._take_head()

    def clear(self) -> None:
        """Forget everything."""
        self._received = b""
        self._at = self._body_bytes = 0
        self._chunks = None
        self._note_framing(0, 0)

    def _take_head(self) -> bytes:
        end = self._end_of_head()
        head = self._take((end or len(self._received)) - self._at)
        self._last = (self._last + head)[-_SEAM_BYTES:]
        size = self.framing_bytes + len(head)
        if end and size <= WHOLE_HEAD_BYTES_MAX:
            self._last = b""
            self._note_framing(0, 0)
        else:
            self._note_framing(size, self._lines + head.count(b"\n"))
        return head

    def _end_of_head(self) -> int:
        """Return where it ends; 0 if that is not here."""
        received, at, last = self._received, self._at, self._last
        found = (last + received[at : at + _SEAM_BYTES]).find(_END_OF_HEAD) - len(last)
        if found >= -len(last):
            return at + found + len(_END_OF_HEAD)
        # Empty lines in front of a request are no head, or 256 KB of them were 65,000 pieces.
        while not self.framing_bytes and received.startswith(b"\r\n", at):
            at += 2
        found = received.find(_END_OF_HEAD, at)
        return found + len(_END_OF_HEAD) if found >= 0 else 0

    def _take_chunks(self, chunks: Chunks) -> bytes:
        stop = min(self._at + CHUNKED_BYTES, len(self._received))
        piece = self._take(chunks.walk(self._received, self._at, stop) - self._at)
        self._note_framing(chunks.framing_bytes, chunks.lines)
        if chunks.is_over:
            self._chunks = None
            self._note_framing(0, 0)
        return piece

    def _note_framing(self, size: int, lines: int) -> None:
        self.framing_bytes, self._lines = size, lines

    def _take(self, size: int) -> bytes:
        taken = self._received[self._at : self._at + size]
        self._at += len(taken)
        if not self:
            self._received, self._at = b"", 0
        return taken
