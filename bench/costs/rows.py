"""COPY documents of the documented example, as the server makes them: every row has a new id."""

from collections.abc import Callable

from bench.load import payloads
from ingest.events import copy_format
from ingest.events.ids import IdSequence

APP_ID = 1
"""The first app of a database, which `servers.make_key` makes in a new one."""

Documents = Callable[[int], bytes]
"""Makes a document of so many rows."""


def documents() -> Documents:
    """Return a maker of documents whose ids go on from one to the next."""
    ids, head, payload = IdSequence(), copy_format.row_head(APP_ID), payloads.example()
    name, params = payload.name.encode(), payload.params.encode()

    def make(size: int) -> bytes:
        made = (ids.next() for _ in range(size))
        return copy_format.document(
            [copy_format.row(head, each[0], name, params, each[2].row) for each in made]
        )

    return make
