"""The table of fields: what an event consists of.

From it are made the columns of COPY, the JSON of an answer, rejected events, the merge and the
spool's export. A new field is one line here, a migration that adds its column to `events` and
`rejected_events`, and a test; if clients send it, `event.py` has to take it and `client_fields.py`
to read it. It goes in front of `idempotency_key`, with the next number for `since`: tuples that an
earlier version left in a spool are told apart by how many fields they have.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class _Kind(NamedTuple):
    """How values of one type are written."""

    sql: str
    size: int | None
    """Bytes in COPY's binary format; None if they vary."""
    read: Callable[[bytes], Any]
    """From COPY's binary format to what JSON can hold; raises ValueError."""
    as_json: Callable[[Any], bytes]
    """From what `read` returns, or its text, to JSON."""


def rfc3339(micros: int) -> str:
    """Return microseconds since 2000 as an answer has them: to the millisecond, if that is exact.

    Raises ValueError for a time past the year 9999.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError("a time out of range") from None
    precision = "microseconds" if micros % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _read_int(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


def _read_time(raw: bytes) -> str:
    return rfc3339(_read_int(raw))


def _read_uuid(raw: bytes) -> str:
    return str(UUID(bytes=raw))


def _quoted(text: str) -> bytes:
    return b'"%b"' % text.encode()


def _plain(value: object) -> bytes:
    return str(value).encode()


class Kind(Enum):
    """The types that fields have."""

    INT = _Kind("int4", 4, _read_int, _plain)
    UUID = _Kind("uuid", 16, _read_uuid, _quoted)
    TEXT = _Kind("text", None, bytes.decode, orjson.dumps)
    JSON = _Kind("jsonb", None, bytes.decode, _plain)
    TIME = _Kind("timestamptz", 8, _read_time, _quoted)


class Field(NamedTuple):
    """One field, and the column of its name."""

    name: str
    kind: Kind
    since: int = 1
    """The first version of the COPY tuples that has it."""
    is_optional: bool = False
    """Whether it may be NULL; all such fields come behind the others."""
    is_answered: bool = True
    """Whether clients get it back."""


FIELDS: Final = (
    Field("app_id", Kind.INT, is_answered=False),
    Field("id", Kind.UUID),
    Field("event_name", Kind.TEXT),
    Field("event_params", Kind.JSON),
    Field("created_at", Kind.TIME),
    Field("timestamp", Kind.TIME, since=2, is_optional=True),
    # Last, and of a fixed size: whether a row has one is seen at its end.
    Field("idempotency_key", Kind.UUID, since=2, is_optional=True, is_answered=False),
)
OPTIONAL: Final = tuple(field for field in FIELDS if field.is_optional)
ANSWERED: Final = tuple(field for field in FIELDS if field.is_answered)
LAYOUTS: Final[Mapping[int, tuple[Field, ...]]] = {
    len(layout): layout
    for version in {field.since for field in FIELDS}
    if (layout := tuple(field for field in FIELDS if field.since <= version))
}
"""The fields of each version's tuples, by how many they are."""

Stored = dict[str, Any]
"""One event by the names of its fields, for a person or a program to read: texts but for `app_id`,
and None for what is NULL. `event_params` is JSON as it was sent, with every digit; times are RFC
3339 in UTC; `idempotency_key` is the beginning of a hash of what the client sent."""
