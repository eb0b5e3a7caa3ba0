"""Binary COPY tuples read back: the inverse of `copy_format`, for what comes from a disk.

`split` and `decode` trust nothing: a blob that was cut, flipped or overwritten raises ValueError,
after time and memory in proportion to its length at most. They also read the tuples that earlier
versions left in the spool, with fewer fields. The functions below them are for rows that were made
here or came out of `split`.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final
from uuid import UUID

from ingest.events.copy_format import COLUMNS, NULL, PLAIN, TABLE
from ingest.events.fields import FIELDS, LAYOUTS, OPTIONAL, Field, Kind, Stored

_JSONB_VERSION: Final = 1
_COUNT: Final = len(COLUMNS)
_COUNT_BYTES: Final = _COUNT.to_bytes(2, "big")
_APP_ID_AT: Final = 6
_APP_ID_SIZE: Final = 4
_ID_AT: Final = 14
_ID_SIZE: Final = 16
_NAME_AT: Final = 34
_LENGTH_SIZE: Final = 4
_JSONB_HEAD_SIZE: Final = _LENGTH_SIZE + 1
_TIME_SIZE: Final = 8
_KEY_SIZE: Final = 16
_NULL_SIZE: Final = -1
_HEAD_FIELDS: Final = 4
"""Before the tail: app_id, id, name, parameters."""
_TAILS: Final = {count: layout[_HEAD_FIELDS:] for count, layout in LAYOUTS.items()}
"""The fields from `created_at` on, by the count of all."""
_PLAIN_SIZES: Final = (_TIME_SIZE, *(_NULL_SIZE for _ in OPTIONAL))
_PLAIN_TAIL_SIZE: Final = _LENGTH_SIZE + _TIME_SIZE + len(PLAIN)
_KEY_LENGTH: Final = _KEY_SIZE.to_bytes(_LENGTH_SIZE, "big")
_app_bytes = itemgetter(slice(_APP_ID_AT, _APP_ID_AT + _APP_ID_SIZE))
# The count of fields, app_id with its size, the id's size, the id, and the size of the name.
_head = struct.Struct("!hiii16xi").unpack_from
_jsonb_head = struct.Struct("!ib").unpack_from
_length = struct.Struct("!i").unpack_from
# The sizes of the fields of a plain tail.
_plain_sizes = struct.Struct("!i8x" + "i" * len(OPTIONAL)).unpack_from


def split(blob: bytes, count: int) -> list[bytes]:
    """Return the `count` tuples that a blob consists of; raise ValueError if it doesn't.

    All have the fields of today, also those that were written with fewer. 0.5 µs a tuple.
    """
    rows: list[bytes] = []
    start, end = 0, len(blob)
    while start < end:
        _, tail_at, after = _measure(blob, start)
        if blob[start + 1] == _COUNT:
            rows.append(blob[start:after])
        else:
            rows.append(_completed(blob[start:after], tail_at - start))
        start = after
    if len(rows) != count:
        raise ValueError(f"{len(rows)} tuples where {count} were announced")
    return rows


def _completed(row: bytes, tail_at: int) -> bytes:
    """Return a row of an earlier version with the fields of today."""
    layout = _TAILS[row[1]]
    had = {field.name: value for field, value in zip(layout, _values(row, tail_at), strict=True)}
    tail = (had.get(field.name) for field in FIELDS[_HEAD_FIELDS:])
    return b"".join((_COUNT_BYTES, row[2:tail_at], *map(_field, tail)))


def _field(value: bytes | None) -> bytes:
    return NULL if value is None else len(value).to_bytes(_LENGTH_SIZE, "big") + value


def at(blob: bytes, start: int) -> bytes:
    """Return the one tuple that begins at `start`; raise ValueError if none does."""
    (row,) = split(blob[start : _measure(blob, start)[2]], 1)
    return row


def decode(row: bytes) -> Stored:
    """Return the event of one tuple; raise ValueError if it is none."""
    (row,) = split(row, 1)
    params_at, tail_at, _ = _measure(row, 0)
    head = (
        row[_APP_ID_AT : _APP_ID_AT + _APP_ID_SIZE],
        row[_ID_AT : _ID_AT + _ID_SIZE],
        row[_NAME_AT : params_at - _JSONB_HEAD_SIZE],
        row[params_at:tail_at],
    )
    values = (*head, *_values(row, tail_at))
    return {
        field.name: None if value is None else field.kind.value.read(value)
        for field, value in zip(FIELDS, values, strict=True)
    }


def said(row: bytes) -> tuple[str, bytes, str | None]:
    """Return what a client said in a row but for its id: name, parameters, and `timestamp`.

    As `decode` has them, for a quarter of its time.
    """
    params_at, tail_at, _ = _measure(row, 0)
    _, timestamp, _ = _values(row, tail_at)
    name = row[_NAME_AT : params_at - _JSONB_HEAD_SIZE].decode()
    time = None if timestamp is None else Kind.TIME.value.read(timestamp)
    return name, row[params_at:tail_at], time


def app_id(row: bytes) -> int:
    """Return which app a row belongs to."""
    return int.from_bytes(row[_APP_ID_AT : _APP_ID_AT + _APP_ID_SIZE], "big", signed=True)


def count_apps(rows: Sequence[bytes]) -> Counter[int]:
    """Return how many rows each app has."""
    counted = Counter(map(_app_bytes, rows))
    return Counter({int.from_bytes(app, "big"): events for app, events in counted.items()})


def event_id(row: bytes) -> UUID:
    """Return the id of a row's event."""
    return UUID(bytes=row[_ID_AT : _ID_AT + _ID_SIZE])


def identity(row: bytes) -> bytes:
    """Return what a row's primary key is: the 4 bytes of `app_id`, the 16 of `id`."""
    return row[_APP_ID_AT : _APP_ID_AT + _APP_ID_SIZE] + row[_ID_AT : _ID_AT + _ID_SIZE]


def moment_ms(row: bytes) -> int:
    """Return the Unix time in milliseconds that a row's id carries."""
    return int.from_bytes(row[_ID_AT : _ID_AT + 6], "big")


def created_us(row: bytes) -> int:
    """Return when a row was received, in microseconds since 2000."""
    at = _measure(row, 0)[1] + _LENGTH_SIZE
    return int.from_bytes(row[at : at + _TIME_SIZE], "big", signed=True)


def is_stored_as(row: bytes, stored: Stored) -> bool:
    """Whether an event of the table, as `decode` has them, is this row and no earlier try of it."""
    return bool(decode(row)["created_at"] == stored["created_at"])


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
    if row.endswith(NULL):  # the end of a key, or NULL behind what looks like a length
        *_, key = _values(row, _measure(row, 0)[1])
        return key
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
        if fields == _COUNT and _plain_sizes(blob, tail_at) == _PLAIN_SIZES:
            return params_at, tail_at, tail_at + _PLAIN_TAIL_SIZE
        end = _end(blob, tail_at, _TAILS.get(fields, ()))
    except struct.error:
        raise ValueError(f"the tuple at byte {start} is cut off") from None
    if not tail_at < end <= len(blob):
        raise ValueError(f"no time or key in the tuple at byte {start}")
    return params_at, tail_at, end


def _end(blob: bytes, at: int, tail: Sequence[Field]) -> int:
    """Return where a tail of such fields that begins at `at` ends; -1 if it is none."""
    for field in tail:
        (size,) = _length(blob, at)
        if not _is_size_of(field, size):
            return -1
        at += _LENGTH_SIZE + max(size, 0)
    return at


def _is_size_of(field: Field, size: int) -> bool:
    if size == _NULL_SIZE:
        return field.is_optional
    fixed = field.kind.value.size
    return size >= 0 if fixed is None else size == fixed


def _values(row: bytes, at: int) -> Iterator[bytes | None]:
    """Yield the values of a measured row from the length at `at` on; None for NULL."""
    while at < len(row):
        (size,) = _length(row, at)
        at += _LENGTH_SIZE
        yield None if size < 0 else row[at : at + size]
        at += max(size, 0)
