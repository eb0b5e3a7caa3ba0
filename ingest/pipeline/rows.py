r"""Rows of the events table as PostgreSQL's binary COPY format has them.

Source: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format". A document is the
signature and two empty 32-bit fields, then tuples, then a 16-bit -1. A tuple is a 16-bit count of
fields, then for each its 32-bit length and its bytes; `jsonb` is a version byte 1 and the text.

A row's bytes are fixed before it is first sent, so sending it again can't change it.
"""

import struct
from collections.abc import Sequence
from typing import Final

TABLE: Final = "events"
KEY: Final = "app_id, id"
COLUMNS: Final = ("app_id", "id", "event_name", "event_params", "created_at")

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_length = struct.Struct("!i").pack
_jsonb_head = struct.Struct("!ib").pack


def row_head(app_id: int) -> bytes:
    """Return what every tuple of one app starts with: the field count, `app_id`, the id's size."""
    return struct.pack("!hiii", len(COLUMNS), 4, app_id, 16)


def row(head: bytes, event_id: bytes, name: bytes, params: bytes, created_at: bytes) -> bytes:
    """Return one tuple; `created_at` comes with its length before it, as Moment.row has it."""
    return b"".join(
        (
            head,
            event_id,
            _length(len(name)),
            name,
            _jsonb_head(len(params) + 1, 1),
            params,
            created_at,
        )
    )


def document(rows: Sequence[bytes]) -> bytes:
    """Return a whole COPY document."""
    return b"".join((_SIGNATURE, *rows, _TRAILER))
