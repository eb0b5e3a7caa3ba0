"""Binary COPY tuples read back: the inverse of `copy_format.row`, for what comes from a disk.

`split` and `decode` trust nothing: a blob that was cut, flipped or overwritten raises ValueError,
after time and memory in proportion to its length at most. They also read the tuples of five fields
that the version before left in the spool, without `timestamp` and `idempotency_key`. The functions
below them are for rows that were made here or came out of `split`. The format is described in
`rows`.
"""

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict
from uuid import UUID

from ingest.events.copy_format import COLUMNS, PLAIN, TABLE

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_JSONB_VERSION: Final = 1
_FIELDS: Final = len(COLUMNS)
_FIELDS_BEFORE: Final = 5
_COUNT: Final = _FIELDS.to_bytes(2, "big")
_APP_ID_AT: Final = 6
_APP_ID_SIZE: Final = 4
_ID_AT: Final = 14
_ID_SIZE: Final = 16
_NAME_AT: Final = 34
_LENGTH_SIZE: Final = 4
_JSONB_HEAD_SIZE: Final = _LENGTH_SIZE + 1
_TIME_SIZE: Final = 8
_KEY_SIZE: Final = 16
_NULL: Final = -1
_PLAIN_SIZES: Final = (_TIME_SIZE, _NULL, _NULL)
_PLAIN_TAIL_SIZE: Final = _LENGTH_SIZE + _TIME_SIZE + len(PLAIN)
_TAILS: Final = {
    _FIELDS: ((_TIME_SIZE,), (_TIME_SIZE, _NULL), (_KEY_SIZE, _NULL)),
    _FIELDS_BEFORE: ((_TIME_SIZE,),),
}
"""By the count of fields: the sizes that each may have from `created_at` on."""
_NULL_LENGTH: Final = b"\xff" * _LENGTH_SIZE
_KEY_LENGTH: Final = _KEY_SIZE.to_bytes(_LENGTH_SIZE, "big")
# The count of fields, app_id with its size, the id's size, the id, and the size of the name.
_head = struct.Struct("!hiii16xi").unpack_from
_jsonb_head = struct.Struct("!ib").unpack_from
_length = struct.Struct("!i").unpack_from
# The sizes of the last three fields, if the last two are NULL.
_plain_sizes = struct.Struct("!i8xii").unpack_from


class Stored(TypedDict):
    """One event for a person or a program to read."""

    app_id: int
    id: str
    event_name: str
    event_params: str
    """JSON text as it was sent, with every digit."""
    created_at: str
    """RFC 3339 in UTC."""
    timestamp: str | None
    """The same; None if the client sent none."""
    idempotency_key: str | None
    """A UUID: a hash of the key that the client sent; None if it sent none."""


def split(blob: bytes, count: int) -> list[bytes]:
    """Return the `count` tuples that a blob consists of; raise ValueError if it doesn't.

    All have the fields of today, also those that had five. 0.5 µs a tuple.
    """
    rows: list[bytes] = []
    start, end = 0, len(blob)
    while start < end:
        after = _measure(blob, start)[2]
        if blob[start + 1] == _FIELDS:
            rows.append(blob[start:after])
        else:
            rows.append(_COUNT + blob[start + 2 : after] + PLAIN)
        start = after
    if len(rows) != count:
        raise ValueError(f"{len(rows)} tuples where {count} were announced")
    return rows


def at(blob: bytes, start: int) -> bytes:
    """Return the one tuple that begins at `start`; raise ValueError if none does."""
    (row,) = split(blob[start : _measure(blob, start)[2]], 1)
    return row


def decode(row: bytes) -> Stored:
    """Return the event of one tuple; raise ValueError if it is none."""
    (row,) = split(row, 1)
    params_at, tail_at, _ = _measure(row, 0)
    created_at, timestamp, key = _fields(row, tail_at)
    return Stored(
        app_id=int.from_bytes(row[_APP_ID_AT : _APP_ID_AT + _APP_ID_SIZE], "big", signed=True),
        id=str(UUID(bytes=row[_ID_AT : _ID_AT + _ID_SIZE])),
        event_name=row[_NAME_AT : params_at - _JSONB_HEAD_SIZE].decode(),
        event_params=row[params_at:tail_at].decode(),
        created_at=_read_time(created_at),
        timestamp=_read_time(timestamp) if timestamp else None,
        idempotency_key=str(UUID(bytes=key)) if key else None,
    )


def identity(row: bytes) -> bytes:
    """Return what a row's primary key is: the 4 bytes of `app_id`, the 16 of `id`."""
    return row[_APP_ID_AT : _APP_ID_AT + _APP_ID_SIZE] + row[_ID_AT : _ID_AT + _ID_SIZE]


def moment_ms(row: bytes) -> int:
    """Return the Unix time in milliseconds that a row's id carries."""
    return int.from_bytes(row[_ID_AT : _ID_AT + 6], "big")


def dedup_key(row: bytes) -> bytes:
    """Return what a row is known by when its client sends it again: its key, or else its id."""
    key = idempotency_key(row)
    if key is None:
        return b"i" + identity(row)
    return b"k" + row[_APP_ID_AT : _APP_ID_AT + _APP_ID_SIZE] + key


def has_idempotency_key(row: bytes) -> bool:
    """Whether the client sent a key with this row."""
    return idempotency_key(row) is not None


def idempotency_key(row: bytes) -> bytes | None:
    """Return the 16 bytes of a row's key; None if it has none."""
    if row[-_KEY_SIZE - _LENGTH_SIZE : -_KEY_SIZE] != _KEY_LENGTH:
        return None
    if row.endswith(_NULL_LENGTH):  # the end of a key, or NULL behind what looks like a length
        *_, key = _fields(row, _measure(row, 0)[1])
        return key or None
    return row[-_KEY_SIZE:]


def _measure(blob: bytes, start: int) -> tuple[int, int, int]:
    """Return where in the tuple at `start` the parameters and the tail begin, and where it ends.

    The parameters begin behind their size, the tail with the size of `created_at`.
    """
    try:
        fields, app_id_size, _, id_size, name_size = _head(blob, start)
        # A negative size would be read from the end of the blob: each is checked before its use.
        if app_id_size != _APP_ID_SIZE or id_size != _ID_SIZE or name_size < 0:
            raise ValueError(f"no tuple of {TABLE} at byte {start}")
        params_at = start + _NAME_AT + name_size + _JSONB_HEAD_SIZE
        jsonb_size, version = _jsonb_head(blob, params_at - _JSONB_HEAD_SIZE)
        if jsonb_size < 1 or version != _JSONB_VERSION:
            raise ValueError(f"no jsonb in the tuple at byte {start}")
        tail_at = params_at + jsonb_size - 1
        if fields == _FIELDS and _plain_sizes(blob, tail_at) == _PLAIN_SIZES:
            return params_at, tail_at, tail_at + _PLAIN_TAIL_SIZE
        end = _end(blob, tail_at, _TAILS.get(fields, ()))
    except struct.error:
        raise ValueError(f"the tuple at byte {start} is cut off") from None
    if not tail_at < end <= len(blob):
        raise ValueError(f"no time or key in the tuple at byte {start}")
    return params_at, tail_at, end


def _end(blob: bytes, at: int, tail: Sequence[tuple[int, ...]]) -> int:
    """Return where a tail of such sizes that begins at `at` ends; -1 if it is none."""
    for sizes in tail:
        (size,) = _length(blob, at)
        if size not in sizes:
            return -1
        at += _LENGTH_SIZE + max(size, 0)
    return at


def _fields(row: bytes, at: int) -> Iterator[bytes]:
    """Yield the fields of a measured row from the length at `at` on, without bytes for NULL."""
    while at < len(row):
        (size,) = _length(row, at)
        at += _LENGTH_SIZE
        yield row[at : at + max(size, 0)]
        at += max(size, 0)


def rfc3339(micros: int) -> str:
    """Return microseconds since 2000 as an answer has it: to the millisecond, if that is exact.

    Raises ValueError for a time past the year 9999.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError("a time out of range") from None
    precision = "microseconds" if micros % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _read_time(time: bytes) -> str:
    return rfc3339(int.from_bytes(time, "big", signed=True))
