r"""What some SDKs send that is no JSON, made into JSON that says the same, or that can't be stored.

1. `NaN` and `Infinity`, as Python writes them, become null.
2. Half of a surrogate pair, `\ud83c` alone, is put behind a U+0000. So no parser refuses the body
   for it, and the one event that has it is refused, as a U+0000 can't be stored. `original` undoes
   it.

Only a body that the parser has refused is looked through.
"""

import re
from typing import Final

from ingest.errors import Code, Refusal

MENDED_MAX: Final = 10_000
"""Of each kind: that bounds the time it takes."""
# Each match begins where the one before ended, at the start of a token: what is none of these is
# taken as it is, and the last one ends with the body. Every group is possessive: no backtracking.
_TO_NUMBER: Final = re.compile(
    rb"""((?:[^"NI]++|"(?:[^"\\]++|\\.)*+")*+)(NaN|Infinity|.|\Z)""", re.DOTALL
)
_TO_HALF: Final = re.compile(
    rb"((?:[^\\]++|\\[^u]|\\u[dD][89ABab][0-9A-Fa-f]{2}\\u[dD][C-Fc-f][0-9A-Fa-f]{2}"
    rb"|\\u(?![dD][89A-Fa-f]))*+)(\\u[dD][89A-Fa-f][0-9A-Fa-f]{2}|.|\Z)",
    re.DOTALL,
)
_HALF_BYTES: Final = 6
_MARKED: Final = re.compile(rb"\\u0000(u[dD][89A-Fa-f][0-9A-Fa-f]{2})")


def mended(body: bytes) -> bytes:
    """Return a body as JSON, if it is none for nothing else; raise Refusal for too many."""
    body, numbers = _TO_NUMBER.subn(_null, body, count=MENDED_MAX)
    body, halves = _TO_HALF.subn(_marked, body, count=MENDED_MAX)
    if MENDED_MAX in (numbers, halves):
        raise Refusal(
            Code.INVALID_JSON, f"The body has more than {MENDED_MAX:,} values that are no JSON."
        )
    return body


def original(text: bytes) -> bytes:
    """Return a part of such a body as it was sent, but for its numbers."""
    return _MARKED.sub(rb"\\\1", text)


def _marked(found: re.Match[bytes]) -> bytes:
    before, half = found.groups()
    return rb"%b\u0000%b" % (before, half[1:]) if len(half) == _HALF_BYTES else found[0]


def _null(found: re.Match[bytes]) -> bytes:
    before, number = found.groups()
    return before.removesuffix(b"-") + b"null" if len(number) > 1 else found[0]
