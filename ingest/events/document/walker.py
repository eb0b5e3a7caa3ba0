"""Where a value ends: expressions that are fast, and a walker for what they can't follow.

The expressions are possessive throughout and unrolled: no backtracking, 100 MB/s for the documented
example. The walker goes from bracket to bracket, slowly.
"""

import asyncio
import re
from typing import Final

from ingest.errors import Code, Refusal
from ingest.events.document import bounds
from ingest.events.document.parser import malformed

_NESTING_FOLLOWED: Final = 3


def _values(plain: bytes, nesting: int) -> bytes:
    """Return an expression for text, strings and brackets that close: any number of them.

    An expression can't recurse, so it follows a few levels. A bracket that does not close in time
    costs another walk over what is in it for every level: so they are few.
    """
    inner = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    if nesting:
        inner = rb"(?:%b|[\[{]%b[\]}])" % (inner, _values(rb'[^"\[\]{}]', nesting - 1))
    return rb"%b*+(?:%b%b*+)*+" % (plain, inner, plain)


VALUE: Final = re.compile(_values(rb'[^"\[\]{},]', _NESTING_FOLLOWED), re.DOTALL)
NESTED: Final = re.compile(_values(rb'[^"\[\]{}]', _NESTING_FOLLOWED), re.DOTALL)
IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
BLANK: Final = re.compile(rb"[ \t\r\n]*+")

RUN: Final = re.compile(rb"(?:%b,){1,%d}+" % (VALUE.pattern, bounds.PIECE_VALUES_MAX), re.DOTALL)
"""Values, each with the comma behind it."""

FIRST_KEY: Final = re.compile(rb'\{[ \t\r\n]*+"[^"\\]*+"')


def end_of(expression: re.Pattern[bytes], text: bytes, start: int, stop: int) -> int:
    """Return where an expression ends that matches anything, if only the empty text."""
    match = expression.match(text, start, stop)
    return match.end() if match else start


_QUOTE: Final = ord('"')
_OPENING: Final = b"[{"
_ENDING: Final = b",]"
_UNENDED: Final = "it ends before the array does"


class Walker:
    """Finds the end of a value longer than a piece, nested deeper than an expression, or the last.

    It takes one kind of bracket for another: that they match is left to the parser.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._turns = 0
        self.nesting_seen = 0
        """How deeply the last value is nested, or a few levels less: what expressions follow."""

    async def find_end(self, start: int) -> int:
        """Return where the comma or the bracket stands that ends the value."""
        self._position = start
        self._nesting = self.nesting_seen = 0
        self._is_in_string = False
        is_sure_to_end = False
        while not self._walk(min(self._position + bounds.PIECE_BYTES, len(self._text))):
            await asyncio.sleep(0)
            if self._nesting > bounds.NESTING_MAX and not is_sure_to_end:
                await self._require_brackets()
                is_sure_to_end = True
        return self._position

    async def _require_brackets(self) -> None:
        """Raise Refusal if fewer brackets follow than are open: a megabyte of `[` ends here."""
        closing = 0
        for start in range(self._position, len(self._text), bounds.COUNTED_BYTES):
            piece = self._text[start : start + bounds.COUNTED_BYTES]
            closing += piece.count(b"]") + piece.count(b"}")
            if closing >= self._nesting:
                return
            await asyncio.sleep(0)
        raise malformed(_UNENDED)

    def _walk(self, stop: int) -> bool:
        """Go on to `stop` at most; return whether the value ends here."""
        for _ in range(bounds.STEPS_MAX):
            found = self._skip(stop)
            if found is None:
                return False
            if found in _ENDING and not self._nesting:
                return True
            self._step(found)
        self._turns += 1
        if self._turns > bounds.TURNS_MAX:
            raise Refusal(Code.PAYLOAD_TOO_LARGE, "The body has too many values nested too deeply.")
        return False

    def _skip(self, stop: int) -> int | None:
        """Return the character to look at; None if there is none in front of `stop`."""
        skipped = IN_STRING if self._is_in_string else NESTED if self._nesting else VALUE
        at = self._position = end_of(skipped, self._text, self._position, stop)
        # A backslash in front of `stop` waits for the next piece, with what it escapes.
        if at < stop and (self._text[at] == _QUOTE or not self._is_in_string):
            return self._text[at]
        if stop == len(self._text):
            raise malformed(_UNENDED)
        return None

    def _step(self, found: int) -> None:
        """Go past a quotation mark or a bracket."""
        if found == _QUOTE:
            self._is_in_string = not self._is_in_string
        elif found in _OPENING:
            self._nesting += 1
            self.nesting_seen = max(self.nesting_seen, self._nesting)
        elif self._nesting:
            self._nesting -= 1
        else:
            raise malformed(f"expected ',' or ']' (byte {self._position})")
        self._position += 1
