"""Binary COPY tuples read back: the inverse of `rows.row`, for what comes from a disk.

Nothing here trusts its input: a blob that was cut, flipped or overwritten raises ValueError, after
time and memory in proportion to its length at most. The format is described in `rows`.
"""

import struct
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict
from uuid import UUID

from ingest.pipeline.rows import COLUMNS, TABLE

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_JSONB_VERSION: Final = 1
_ID_SIZE: Final = 16
_FIXED: Final = (len(COLUMNS), 4, _ID_SIZE)
"""The count of fields, and the sizes of app_id and id."""
_LENGTH_SIZE: Final = 4
_JSONB_HEAD_SIZE: Final = _LENGTH_SIZE + 1
_CREATED_AT_SIZE: Final = 8
_ID_AT: Final = 14
_NAME_AT: Final = 34
# The count of fields, app_id with its size, the id's size, the id, and the size of the name.
_head = struct.Struct("!hiii16xi").unpack_from
_jsonb_head = struct.Struct("!ib").unpack_from
_length = struct.Struct("!i").unpack_from
_micros = struct.Struct("!q").unpack_from


class Stored(TypedDict):
    """One event for a person or a program to read."""

    app_id: int
    id: str
    event_name: str
    event_params: str
    """JSON text as it was sent, with every digit."""
    created_at: str
    """RFC 3339 in UTC."""


def split(blob: bytes, count: int) -> list[bytes]:
    """Return the `count` tuples that a blob consists of; raise ValueError if it doesn't.

    1.2 µs a tuple.
    """
    rows: list[bytes] = []
    start, end = 0, len(blob)
    while start < end:
        after = _measure(blob, start)[1] + _CREATED_AT_SIZE
        rows.append(blob[start:after])
        start = after
    if len(rows) != count:
        raise ValueError(f"{len(rows)} tuples where {count} were announced")
    return rows


def decode(row: bytes) -> Stored:
    """Return the event of one tuple; raise ValueError if it is none."""
    params_at, created_at = _measure(row, 0)
    if created_at + _CREATED_AT_SIZE != len(row):
        raise ValueError("bytes after the tuple")
    _, _, app_id, _, _ = _head(row)
    (micros,) = _micros(row, created_at)
    return Stored(
        app_id=app_id,
        id=str(UUID(bytes=row[_ID_AT : _ID_AT + _ID_SIZE])),
        event_name=row[_NAME_AT : params_at - _JSONB_HEAD_SIZE].decode(),
        event_params=row[params_at : created_at - _LENGTH_SIZE].decode(),
        created_at=_rfc3339(micros),
    )


def _measure(blob: bytes, start: int) -> tuple[int, int]:
    """Return where the parameters and the time of the tuple at `start` begin, behind their sizes.

    The time is the last field, so it also says where the tuple ends.
    """
    try:
        fields, app_id_size, _, id_size, name_size = _head(blob, start)
        # A negative size would be read from the end of the blob: each is checked before its use.
        if (fields, app_id_size, id_size) != _FIXED or name_size < 0:
            raise ValueError(f"no tuple of {TABLE} at byte {start}")
        params_at = start + _NAME_AT + name_size + _JSONB_HEAD_SIZE
        jsonb_size, version = _jsonb_head(blob, params_at - _JSONB_HEAD_SIZE)
        if jsonb_size < 1 or version != _JSONB_VERSION:
            raise ValueError(f"no jsonb in the tuple at byte {start}")
        created_at = params_at + jsonb_size - 1 + _LENGTH_SIZE
        (created_at_size,) = _length(blob, created_at - _LENGTH_SIZE)
    except struct.error:
        raise ValueError(f"the tuple at byte {start} is cut off") from None
    if created_at_size != _CREATED_AT_SIZE or created_at + _CREATED_AT_SIZE > len(blob):
        raise ValueError(f"no time in the tuple at byte {start}")
    return params_at, created_at


def _rfc3339(micros: int) -> str:
    """Return microseconds since 2000 as the answer to the sender had it, to the millisecond."""
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError("a time out of range") from None
    precision = "microseconds" if micros % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
