"""Surrogates that are alone: the grammar allows them in a string, the parser does not.

They are one event's fault (JavaScript makes them when it cuts a text within an emoji), and must not
cost the others of its batch.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Final

from ingest.events.document import bounds
from ingest.events.document.expressions import BETWEEN, end_of
from ingest.events.document.parser import parse

_SURROGATE: Final = re.compile(rb"\\u[dD][89A-Fa-f](?=[0-9A-Fa-f]{2})")
_ESCAPE_BYTES: Final = 6


async def parse_with_surrogates(array: bytes, start: int) -> list[bytes]:
    """Return the values as `parse` does, also those with surrogates, as they were sent."""
    values = parse(await _replace_surrogates(array), start)
    return list(_take_apart(array, map(len, values)))


async def _replace_surrogates(array: bytes) -> bytes:
    """Return an array as long and as well-formed, without an escaped surrogate."""
    text = array.replace(rb"\\", b"xx")
    parts: list[bytes] = []
    start = 0
    while start < len(text):
        stop = start + bounds.PIECE_BYTES
        escape = text.rfind(b"\\", stop - _ESCAPE_BYTES, stop)
        stop = escape if escape > start else stop
        parts.append(_SURROGATE.sub(rb"\\u00", text[start:stop]))
        start = stop
        await asyncio.sleep(0)
    return b"".join(parts)


def _take_apart(array: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    end = 1
    for length in lengths:
        start = end_of(BETWEEN, array, end, len(array))
        end = start + length
        yield array[start:end]
