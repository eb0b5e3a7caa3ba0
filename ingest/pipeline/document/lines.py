"""The lines of NDJSON: each that is not blank is an event, whatever it holds."""

from ingest.pipeline.document import bounds
from ingest.pipeline.document.body import WHITE_SPACE, Body


async def split_lines(body: Body) -> None:
    """Add every line that is not blank."""
    start = await body.skip_space(0)
    while start < len(body.text):
        end = body.text.rfind(b"\n", start, start + bounds.PIECE_BYTES)
        if end < 0:
            end = await _add_long(body, start)
        else:
            await body.add(_split_piece(body.text[start:end]))
        start = await body.skip_space(end)


def _split_piece(piece: bytes) -> list[bytes]:
    stripped = (line.strip(WHITE_SPACE) for line in piece.split(b"\n") if line)
    return [line for line in stripped if line]


async def _add_long(body: Body, start: int) -> int:
    """Add a line longer than a piece, or the last; return where it ends."""
    end = body.text.find(b"\n", start)
    end = len(body.text) if end < 0 else end
    await body.add([body.cut(start, await body.trim_space(start, end))])
    return end
