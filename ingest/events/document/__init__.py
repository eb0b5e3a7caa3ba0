"""A batch as a client sends it: one document, split into its events.

`split` finds out whether the document is well-formed, and where each event in it begins and ends.
A piece of which every value is an event is decoded as a whole. Of any other piece the values' own
bytes are returned, and whether one of them is an event is for `event.decode` to say, of each alone:
also that its strings are valid UTF-8 and its surrogates paired, for neither says where it ends.

1. A short array is parsed at once; lines are cut where they end.
2. A longer array is parsed in pieces, from comma to comma: if all are well-formed, the whole is.
3. So a comma may be guessed; else an expression finds it, or the walker, from bracket to bracket.
4. A piece that does not parse is parsed again without its surrogates, and then refused.
5. Between two pieces everybody else on the event loop has a turn.

What this never does: hold the loop for longer than it takes to walk a piece, or to parse one event
of `event_bytes_max`; keep a long document alive beyond its pieces; make a list of more than
`events_max` and what one piece may hold.
"""

from ingest.errors import Code, Refusal
from ingest.events.document.array import Array, split_at_once
from ingest.events.document.body import Body, Part
from ingest.events.document.lines import split_lines

__all__ = ["Part", "split"]


async def split(
    body: bytes, *, is_ndjson: bool, events_max: int, event_bytes_max: int
) -> list[Part]:
    """Return 1 to `events_max` events; those that are given as bytes without space around them.

    One that is larger than `event_bytes_max` is cut behind one byte more than that: whoever gets it
    refuses it by its length. In a long array it may be malformed if its strings and brackets end,
    and so may one that is nested too deeply, in any array.
    A line of NDJSON is an event whatever it holds. Raise Refusal for a document that is malformed,
    has too many events, or none.
    """
    found = Body(body, events_max, event_bytes_max)
    if is_ndjson:
        await split_lines(found)
    elif not split_at_once(found):
        await Array(found).split()
    if not found.events:
        raise Refusal(Code.EMPTY_BATCH, "There is no event in the body.")
    return found.parts
