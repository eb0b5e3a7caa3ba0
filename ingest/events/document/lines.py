"""The lines of NDJSON: each that is not blank is an event, whatever it holds."""

from ingest.errors import Refusal
from ingest.events.document import bounds
from ingest.events.document.body import WHITE_SPACE, Body
from ingest.events.document.parser import parse


async def split_lines(body: Body) -> None:
    """Add every line that is not blank."""
    start = await body.skip_space(0)
    while start < len(body.text):
        end = body.text.rfind(b"\n", start, start + bounds.PIECE_BYTES)
        if end < 0:
            end = await _add_long(body, start)
        else:
            await _add_piece(body, body.text[start:end])
        start = await body.skip_space(end)


async def _add_piece(body: Body, piece: bytes) -> None:
    stripped = (line.strip(WHITE_SPACE) for line in piece.split(b"\n") if line)
    lines = [line for line in stripped if line]
    array = b"[%b]" % b",".join(lines)
    if not (_are_values(lines, array) and await body.add_decoded(array)):
        await body.add(lines)


def _are_values(lines: list[bytes], array: bytes) -> bool:
    """Whether each line is one value: two might be the halves of one, and another one two."""
    try:
        return list(map(bytes, parse(array, 0))) == lines
    except Refusal:
        return False


async def _add_long(body: Body, start: int) -> int:
    """Add a line longer than a piece, or the last; return where it ends."""
    end = body.text.find(b"\n", start)
    end = len(body.text) if end < 0 else end
    await body.add([body.cut(start, await body.trim_space(start, end))])
    return end
