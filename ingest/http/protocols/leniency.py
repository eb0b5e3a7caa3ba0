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
from collections.abc import Generator, Iterator
from typing import Final

from ingest.errors import Code, Refusal

MENDED_MAX: Final = 100_000
"""Of each kind; no SDK's batch has so many, and each takes a microsecond."""
_STEPS: Final = 8
"""So many matches are made in a turn, in some milliseconds at most."""
# Each match begins where the one before ended, at the start of a token, takes a bounded number of
# them, and something in any case. Every group is possessive: no backtracking.
_TO_NUMBER: Final = re.compile(
    rb'((?:[^"NI]{1,4096}+|[NI](?!aN|nfinity)|"(?:[^"\\]{1,4096}+|\\.){0,200}+"){0,500}+)'
    rb'(NaN|Infinity|"|)',
    re.DOTALL,
)
_IN_TEXT: Final = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){0,500}+(?:("|\\?\Z)|)', re.DOTALL)
"""The rest of a long text, or a part of it; group 1 is its end."""
_TO_HALF: Final = re.compile(
    rb"((?:[^\\]{1,4096}+|\\[^u]|\\u[dD][89ABab][0-9A-Fa-f]{2}\\u[dD][C-Fc-f][0-9A-Fa-f]{2}"
    rb"|\\u(?![dD][89A-Fa-f])){0,500}+)(\\u[dD][89A-Fa-f][0-9A-Fa-f]{2}|\\|)",
    re.DOTALL,
)
_HALF_BYTES: Final = 6
_MARKED: Final = re.compile(rb"\\u0000(u[dD][89A-Fa-f][0-9A-Fa-f]{2})")


async def mended(body: bytes) -> bytes:
    """Return a body as JSON, if it is none for nothing else; raise Refusal for too many."""
    for pieces in (_with_nulls, _with_marks):
        found = bytearray()
        for number, piece in enumerate(pieces(body), 1):
            found += piece
            if number % _STEPS == 0:
                await asyncio.sleep(0)
        body = bytes(found)
    return body


def original(text: bytes) -> bytes:
    """Return a part of such a body as it was sent, but for its numbers."""
    return _MARKED.sub(rb"\\\1", text)


def reason(refusal: Refusal, text: bytes) -> Refusal:
    """Return why an event of such a body is refused, in terms of what was sent."""
    half = _MARKED.search(text)
    if half is None:
        return refusal
    return Refusal(
        refusal.code,
        f"The event has \\{half[1].decode()} alone, half of a surrogate pair: a character was cut"
        " in two.",
    )


def _with_nulls(body: bytes) -> Iterator[bytes]:
    at, numbers = 0, 0
    while at < len(body) and (found := _TO_NUMBER.match(body, at)):
        at = found.end()
        before, token = found.groups()
        if len(token) > 1:
            numbers += 1
            _require_few(numbers)
            yield before.removesuffix(b"-") + b"null"
        else:
            yield found[0]
        if token == b'"':
            at = yield from _text(body, at)


def _text(body: bytes, at: int) -> Generator[bytes, None, int]:
    """Yield the rest of a long text, piece by piece; return where it ends."""
    while at < len(body) and (found := _IN_TEXT.match(body, at)):
        yield found[0]
        at = found.end()
        if found[1] is not None:
            break
    return at


def _with_marks(body: bytes) -> Iterator[bytes]:
    at, halves = 0, 0
    while at < len(body) and (found := _TO_HALF.match(body, at)):
        at = found.end()
        before, half = found.groups()
        if len(half) == _HALF_BYTES:
            halves += 1
            _require_few(halves)
            yield rb"%b\u0000%b" % (before, half[1:])
        else:
            yield found[0]


def _require_few(count: int) -> None:
    if count > MENDED_MAX:
        raise Refusal(
            Code.INVALID_JSON, f"The body has more than {MENDED_MAX:,} values that are no JSON."
        )
