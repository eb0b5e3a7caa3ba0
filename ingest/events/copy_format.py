r"""Rows of the events table as PostgreSQL's binary COPY format has them.

Source: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format". A document is the
signature and two empty 32-bit fields, then tuples, then a 16-bit -1. A tuple is a 16-bit count of
fields, then for each its 32-bit length and its bytes, or the length -1 for NULL; `jsonb` is a
version byte 1 and the text, `timestamptz` is microseconds since 2000-01-01 UTC.

A row's bytes are fixed before it is first sent, so sending it again can't change it.
"""

import struct
from collections.abc import Sequence
from typing import Final

from ingest.events.fields import FIELDS, OPTIONAL

TABLE: Final = "events"
PRIMARY_KEY: Final = ("app_id", "id")
COLUMNS: Final = tuple(field.name for field in FIELDS)
NULL: Final = b"\xff" * 4
PLAIN: Final = NULL * len(OPTIONAL)
"""How the tail of most rows ends: without any of the fields that a client may leave out."""
NOTHING: Final[Sequence[bytes | None]] = (None,) * len(OPTIONAL)
"""The optional fields of such a row."""

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_length = struct.Struct("!i").pack
_jsonb_head = struct.Struct("!ib").pack
_time = struct.Struct("!iq").pack


def row_head(app_id: int) -> bytes:
    """Return what every tuple of one app starts with: the field count, `app_id`, the id's size."""
    return struct.pack("!hiii", len(COLUMNS), 4, app_id, 16)


def time(micros: int) -> bytes:
    """Return the value of a time in microseconds since 2000-01-01 UTC."""
    return micros.to_bytes(8, "big", signed=True)


def tail(created_us: int, optional: Sequence[bytes | None] = NOTHING) -> bytes:
    """Return what a tuple ends with: `created_at`, then each optional field or NULL.

    `created_us` is microseconds since 2000-01-01 UTC, `optional` the values in the order of
    `fields.OPTIONAL`. All plain events of one millisecond share one tail: 12 bytes of `created_at`,
    then PLAIN.
    """
    return _time(8, created_us) + b"".join(
        NULL if value is None else _length(len(value)) + value for value in optional
    )


def row(head: bytes, event_id: bytes, name: bytes, params: bytes, times: bytes) -> bytes:
    """Return one tuple; `times` is a `tail`, as Moment.row has it for a plain event."""
    return b"".join(
        (
            head,
            event_id,
            _length(len(name)),
            name,
            _jsonb_head(len(params) + 1, 1),
            params,
            times,
        )
    )


def many(
    head: bytes, lows: Sequence[bytes], names: Sequence[str], params: Sequence[bytes], times: bytes
) -> list[bytes]:
    """Return many tuples, by column: `head` goes on into the ids, up to what is in `lows`."""
    fields = {name: _name_field(name.encode()) for name in set(names)}
    return [
        b"".join((head, low, fields[name], _jsonb_head(len(each) + 1, 1), each, times))
        for low, name, each in zip(lows, names, params, strict=True)
    ]


def _name_field(name: bytes) -> bytes:
    return _length(len(name)) + name


def document(rows: Sequence[bytes]) -> bytes:
    """Return a whole COPY document."""
    return b"".join((_SIGNATURE, *rows, _TRAILER))
