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

from ingest.events.document.body import Part
from ingest.events.document.document import split

__all__ = ["Part", "split"]
