r"""What some SDKs send that is no JSON, made into JSON that says the same, or that can't be stored.

1. `NaN` and `Infinity`, as Python writes them, become null.
2. Half of a surrogate pair, `\ud83c` alone, is put behind a U+0000. So no parser refuses the body
   for it, and the one event that has it is refused, as a U+0000 can't be stored. `original` undoes
   it.

Only a body that the parser has refused is looked through: once for each, every byte once, and
others have a turn in between.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Final

_STEPS: Final = 8
"""So many matches are made in a turn, in 1 ms."""
_TOKENS: Final = b"{0,500}+"
"""So much a match takes at most."""
# Each match begins where the one before ended, at the start of a token, and takes something: a text
# that has no end is taken to the end of the body. Every group is possessive: no backtracking.
_TO_NUMBER: Final = re.compile(
    rb'((?:[^"NI]{1,65536}+|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))%b)(NaN|Infinity|[NI]|)' % _TOKENS,
    re.DOTALL,
)
_TO_HALF: Final = re.compile(
    rb"((?:[^\\]{1,65536}+|\\[^u]|\\u[dD][89ABab][0-9A-Fa-f]{2}\\u[dD][C-Fc-f][0-9A-Fa-f]{2}"
    rb"|\\u(?![dD][89A-Fa-f]))%b)(\\u[dD][89A-Fa-f][0-9A-Fa-f]{2}|\\|)" % _TOKENS,
    re.DOTALL,
)
_HALF_BYTES: Final = 6
_MARKED: Final = re.compile(rb"\\u0000(u[dD][89A-Fa-f][0-9A-Fa-f]{2})")

Replace = Callable[[re.Match[bytes]], bytes]


async def mended(body: bytes) -> bytes:
    """Return a body as JSON, if it is none for nothing else."""
    for pattern, replace in ((_TO_NUMBER, _null), (_TO_HALF, _marked)):
        pieces = []
        for number, piece in enumerate(_pieces(pattern, replace, body), 1):
            pieces.append(piece)
            if number % _STEPS == 0:
                await asyncio.sleep(0)
        body = b"".join(pieces)
    return body


def original(text: bytes) -> bytes:
    """Return a part of such a body as it was sent, but for its numbers."""
    return _MARKED.sub(rb"\\\1", text)


def _pieces(pattern: re.Pattern[bytes], replace: Replace, body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body) and (found := pattern.match(body, at)):
        at = found.end()
        yield replace(found)


def _marked(found: re.Match[bytes]) -> bytes:
    before, half = found.groups()
    return rb"%b\u0000%b" % (before, half[1:]) if len(half) == _HALF_BYTES else found[0]


def _null(found: re.Match[bytes]) -> bytes:
    before, number = found.groups()
    return before.removesuffix(b"-") + b"null" if len(number) > 1 else found[0]
