"""A document: an array, or lines, of 1 to so many events."""

from ingest.errors import Code, Refusal
from ingest.events.document.array import Array, split_at_once
from ingest.events.document.body import Body, Part
from ingest.events.document.lines import split_lines


async def split(
    body: bytes, *, is_ndjson: bool, events_max: int, event_bytes_max: int
) -> list[Part]:
    """Return 1 to `events_max` events; those that are given as bytes without space around them.

    One that is larger than `event_bytes_max` is cut behind one byte more than that: whoever gets it
    refuses it by its length. In a long array it may be malformed if its strings and brackets end.
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
