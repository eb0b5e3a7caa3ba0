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

TABLE: Final = "events"
KEY: Final = "app_id, id"
COLUMNS: Final = (
    "app_id",
    "id",
    "event_name",
    "event_params",
    "created_at",
    "timestamp",
    "idempotency_key",
)
PLAIN: Final = b"\xff" * 8
"""How the tail of most rows ends: without a time and without a key of the client's, two NULLs."""

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff" * 4
_KEY_SIZE: Final = b"\0\0\0\x10"
_length = struct.Struct("!i").pack
_jsonb_head = struct.Struct("!ib").pack
_time = struct.Struct("!iq").pack


def row_head(app_id: int) -> bytes:
    """Return what every tuple of one app starts with: the field count, `app_id`, the id's size."""
    return struct.pack("!hiii", len(COLUMNS), 4, app_id, 16)


def tail(created_us: int, timestamp_us: int | None, key: bytes | None) -> bytes:
    """Return what a tuple ends with: `created_at`, `timestamp`, `idempotency_key`.

    The times are microseconds since 2000-01-01 UTC, the key is 16 bytes; each comes with its
    length before it. All events of one millisecond that have neither `timestamp` nor key share one
    tail: 12 bytes of `created_at`, then PLAIN.
    """
    timestamp = _NULL if timestamp_us is None else _time(8, timestamp_us)
    return _time(8, created_us) + timestamp + (_NULL if key is None else _KEY_SIZE + key)


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
