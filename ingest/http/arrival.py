"""What a connection has received, in pieces that are each of one request.

A piece ends where a head does, or a body whose length is known, so aiohttp's parser never has a
byte of a request before the one in front of it is answered. Behind a chunked body, whose end only
the parser finds, it may: CHUNKED_BYTES at most.
"""

from typing import Final

CHUNKED_BYTES: Final = 16_384
"""A piece of a chunked body."""
SIZED_BYTES: Final = 65_536
"""A piece of one whose length is known."""
_LINE_BYTES: Final = 384
"""What the parser makes of a header beyond two copies: two tuples and four strings."""
_END_OF_HEAD: Final = b"\r\n\r\n"


class Arrival:
    """The bytes that are not parsed, and what the parser holds of a head or trailer."""

    __slots__ = ("_last", "_parsed_bytes", "_received", "head_bytes")

    def __init__(self) -> None:
        self._received = b""
        self._last = b""
        """The end of what was taken last of this head: its empty line may come in two pieces."""
        self._parsed_bytes = 0
        """What the parser holds of an incomplete head, in memory."""
        self.head_bytes = 0
        """How much was taken of an incomplete head, or of what stands around a chunked body."""

    def __bool__(self) -> bool:
        return bool(self._received)

    @property
    def held_bytes(self) -> int:
        """What all of it takes in memory."""
        return len(self._received) + self._parsed_bytes

    def add(self, data: bytes) -> None:
        """Keep what was received."""
        self._received += data

    def take_head(self, bytes_max: int) -> bytes:
        """Return what there is of a head, to its end at most, and as much as it may have.

        If it has more, `head_bytes` is more than `bytes_max` then.
        """
        found = (self._last + self._received).find(_END_OF_HEAD)
        is_whole = found >= 0
        size = found + len(_END_OF_HEAD) - len(self._last) if is_whole else len(self._received)
        known_bytes = self.head_bytes
        head = self._take(min(size, bytes_max - known_bytes))
        self.count_head(head)
        self._last = (self._last + head)[1 - len(_END_OF_HEAD) :]
        if size > len(head):
            self.head_bytes = known_bytes + size
        elif is_whole:
            self.end_head()
        return head

    def take_body(self, bytes_max: int | None) -> bytes:
        """Return what there is of a body that has so many bytes yet; None if nobody knows."""
        return self._take(CHUNKED_BYTES if bytes_max is None else min(bytes_max, SIZED_BYTES))

    def count_head(self, piece: bytes) -> None:
        """Count a piece of a head or of a trailer that goes on."""
        self.head_bytes += len(piece)
        self.count_parsed(piece)

    def count_parsed(self, piece: bytes) -> None:
        """Count what the parser may hold of a piece."""
        self._parsed_bytes += 2 * len(piece) + _LINE_BYTES * piece.count(b"\n")

    def end_head(self) -> None:
        """Note that the parser holds nothing of a head any more."""
        self.head_bytes = self._parsed_bytes = 0
        self._last = b""

    def clear(self) -> None:
        """Forget everything."""
        self._received = b""
        self.end_head()

    def _take(self, size: int) -> bytes:
        taken, self._received = self._received[:size], self._received[size:]
        return taken
