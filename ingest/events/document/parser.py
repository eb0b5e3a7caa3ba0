"""The parser: it says of a piece whether it is well-formed, and takes it apart.

The grammar allows surrogates that are alone in a string, the parser does not. They are one event's
fault (JavaScript makes them when it cuts a text within an emoji), and must not cost the others of
its batch: so a piece that does not parse is parsed again without them.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ingest.errors import Code, Refusal
from ingest.events.document import bounds

_BYTE: Final = re.compile(r"\(byte (\d+)\)")

_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SURROGATE: Final = re.compile(rb"\\u[dD][89A-Fa-f](?=[0-9A-Fa-f]{2})")
_ESCAPE_BYTES: Final = 6
_BETWEEN: Final = re.compile(rb"[ \t\r\n,]*+")


def parse(array: bytes, start: int) -> list[msgspec.Raw]:
    """Return views of an array's values; raise Refusal unless it is well-formed.

    What is behind its bracket stands at `start` in the body: so the refusal names the body's byte.
    """
    try:
        return _decode(array)
    except msgspec.DecodeError as error:
        moved = _BYTE.sub(lambda found: f"(byte {int(found[1]) + start - 1})", str(error))
        raise malformed(moved) from None
    except RecursionError:
        raise malformed("it is nested too deeply") from None


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


def _end_of_gap(array: bytes, start: int) -> int:
    match = _BETWEEN.match(array, start)
    return match.end() if match else start


def _take_apart(array: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    end = 1
    for length in lengths:
        start = _end_of_gap(array, end)
        end = start + length
        yield array[start:end]


def malformed(what: str) -> Refusal:
    """Return the refusal of a document in which something is wrong, and where it is known."""
    return Refusal(Code.INVALID_JSON, f"The body is not valid JSON: {what}.")
