"""The array, and the pieces in which it is parsed."""

from collections.abc import Sequence
from typing import Final

from ingest.errors import Code, Refusal
from ingest.events.document import bounds
from ingest.events.document.body import Body
from ingest.events.document.parser import malformed, parse, parse_with_surrogates
from ingest.events.document.walker import FIRST_KEY, RUN, Walker

_COMMA: Final = ord(",")
_CLOSE: Final = ord("]")


def split_at_once(body: Body) -> bool:
    """Take the values of a short array; return whether it is one that parses."""
    if len(body.text) > bounds.WHOLE_BYTES_MAX or body.text.count(b",") > bounds.WHOLE_COMMAS_MAX:
        return False
    if body.take_decoded(body.text):
        return True
    try:
        values = parse(body.text, 1)
    except Refusal:
        return False
    body.take(values)
    return True


class Array:
    """A body that has to be an array, in pieces that end at a comma of its own."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._text = body.text
        self._walker = Walker(body.text)
        self._wrong_guesses = 0

    async def split(self) -> None:
        """Add every value; raise Refusal unless all of the document is well-formed."""
        mark = await self._body.skip_space(0)
        self._require_array(mark)
        start = await self._body.skip_space(mark + 1)
        if self._text.startswith(b"]", start):
            mark, start = start, await self._body.skip_space(start + 1)
        while self._text[mark] != _CLOSE:
            mark = await self._add_guessed(mark, start) or await self._add_next(start)
            start = await self._body.skip_space(mark + 1)
        if start < len(self._text):
            raise malformed(f"trailing characters (byte {start})")

    def _require_array(self, start: int) -> None:
        if start == len(self._text):
            raise Refusal(Code.INVALID_JSON, "The body is empty; send a JSON array of events.")
        if not self._text.startswith(b"[", start):
            raise Refusal(Code.INVALID_JSON, "The body must be a JSON array of events.")

    async def _add_guessed(self, mark: int, start: int) -> int:
        """Add the values up to a comma that is guessed; return it, or 0 if that was wrong."""
        end = self._guess_comma(mark, start)
        if end < 0:
            return 0
        piece = b"[%b]" % self._text[start:end]
        if await self._body.add_decoded(piece):
            return end
        try:
            values = parse(piece, start)
        except Refusal:
            self._wrong_guesses += 1
            return 0
        await self._body.add(values)
        return end

    def _guess_comma(self, mark: int, start: int) -> int:
        """Return the last comma of a piece in front of what this event begins with, or -1.

        10,000 of the documented events take 3 ms so, 8 ms where each comma is found for certain;
        8,000 that nest five levels, 2.5 MB, take 6 ms so, 117 ms otherwise.
        """
        key = FIRST_KEY.match(self._text, start, mark + bounds.SEAM_BYTES_MAX)
        is_given_up = self._wrong_guesses > bounds.WRONG_GUESSES_MAX
        if not key or self._text[mark] != _COMMA or is_given_up:
            return -1
        seam = self._text[mark : key.end()]
        return self._text.rfind(seam, start, start + bounds.PIECE_BYTES)

    async def _add_next(self, start: int) -> int:
        """Add one or more values; return where the comma or bracket stands that ends the last."""
        run = RUN.match(self._text, start, start + bounds.PIECE_BYTES)
        if not run:
            return await self._add_long(start)
        end = run.end() - 1
        await self._add(start, end)
        return end

    async def _add_long(self, start: int) -> int:
        """Add the one value that the walker finds; return what `_add_next` does."""
        end = await self._walker.find_end(start)
        last = await self._body.trim_space(start, end)
        is_too_deep = self._walker.nesting_seen > bounds.NESTING_MAX
        if is_too_deep or last - start > self._body.event_bytes_max:
            # Not parsed: whoever gets it refuses it, and the parser can't follow any depth.
            await self._body.add([self._body.cut(start, last)])
        else:
            await self._add(start, last)
        return end

    async def _add(self, start: int, end: int) -> None:
        """Add the values between commas; at least one, or the document is malformed."""
        piece = b"[%b]" % self._text[start:end]
        if not await self._body.add_decoded(piece):
            await self._body.add(await self._parse(piece, start))

    async def _parse(self, piece: bytes, start: int) -> Sequence[bytes]:
        try:
            values: Sequence[bytes] = parse(piece, start)
        except Refusal:
            values = await parse_with_surrogates(piece, start)
        if not values:
            raise malformed(f"expected a value (byte {start})")
        return values
