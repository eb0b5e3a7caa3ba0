"""The parser: it says of a piece whether it is well-formed, and takes it apart."""

import re
from typing import Final

import msgspec

from ingest.events.document.refusals import malformed, nested_too_deeply

_BYTE: Final = re.compile(r"\(byte (\d+)\)")

_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode


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
        raise nested_too_deeply() from None
