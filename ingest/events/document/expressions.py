"""The regular expressions that find where a value ends.

They are possessive throughout and unrolled: no backtracking, 100 MB/s for the documented example.
"""

import re
from typing import Final

from ingest.events.document import bounds

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
BETWEEN: Final = re.compile(rb"[ \t\r\n,]*+")

RUN: Final = re.compile(rb"(?:%b,){1,%d}+" % (VALUE.pattern, bounds.PIECE_VALUES_MAX), re.DOTALL)
"""Values, each with the comma behind it."""

FIRST_KEY: Final = re.compile(rb'\{[ \t\r\n]*+"[^"\\]*+"')


def end_of(expression: re.Pattern[bytes], text: bytes, start: int, stop: int) -> int:
    """Return where an expression ends that matches anything, if only the empty text."""
    match = expression.match(text, start, stop)
    return match.end() if match else start
