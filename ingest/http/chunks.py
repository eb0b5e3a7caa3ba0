"""Where a chunked body ends (RFC 9112, 7.1), if it is well-formed; whether it is, a parser says."""

import re
from typing import Final

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]+")
_NO_END: Final = 1 << 62
"""The size of a chunk that has none."""
_EMPTY_LINE: Final = b"\r\n"


class Chunks:
    """How far a chunked body has got."""

    __slots__ = ("_is_trailer", "_left_bytes", "_line", "framing_bytes", "is_over", "lines")

    def __init__(self) -> None:
        self._left_bytes = 0
        """Of a chunk and the end of line behind it."""
        self._line = b""
        """The beginning of a line that is not complete."""
        self._is_trailer = False
        self.is_over = False
        self.framing_bytes = 0
        """Since the last chunk."""
        self.lines = 0
        """Of the trailer; an empty line ends it."""

    def walk(self, data: bytes, start: int, stop: int) -> int:
        """Go on from `start`; return where the body ends in `data`, or `stop`."""
        while start < stop and not self.is_over:
            if self._left_bytes:
                step = min(self._left_bytes, stop - start)
                self._left_bytes -= step
                start += step
            else:
                start = self._walk_line(data, start, stop)
        return start

    def _walk_line(self, data: bytes, start: int, stop: int) -> int:
        end = data.find(b"\n", start, stop) + 1
        piece = data[start : end or stop]
        self._line += piece
        self.framing_bytes += len(piece)
        if end:
            line, self._line = self._line, b""
            self._end_line(line)
        return end or stop

    def _end_line(self, line: bytes) -> None:
        if self._is_trailer:
            self.lines += 1
            self.is_over = line == _EMPTY_LINE
            return
        size = _SIZE.match(line)
        chunk_bytes = int(size[0], 16) if size else _NO_END
        self._is_trailer = not chunk_bytes
        if chunk_bytes:
            self._left_bytes = chunk_bytes + len(_EMPTY_LINE)
            self.framing_bytes = 0
