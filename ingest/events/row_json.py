"""Stored rows as JSON, the way that clients get them, and what is put around them."""

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import orjson

from ingest.events import copy_reader
from ingest.events.fields import ANSWERED, OPTIONAL, Stored

OPEN: Final = b'{"status":"success","data":['
CLOSE: Final = b"]}"
_START: Final = b'{"id":"'


def body(row: bytes) -> bytes:
    """Return the body of an answer with one row."""
    return OPEN + row + CLOSE


def plain_body(event_id: bytes, name: str, params: bytes, created_at: bytes) -> bytes:
    """Return the body of an answer with one plain event, made in one piece.

    Most events are answered with this; the id and the time are texts.
    """
    return b"".join(
        (
            b'{"status":"success","data":[{"id":"',
            event_id,
            b'","event_name":',
            orjson.dumps(name),
            b',"event_params":',
            params,
            b',"created_at":"',
            created_at,
            b'"}]}',
        )
    )


def encode(
    event_id: bytes,
    name: str,
    params: bytes,
    created_at: bytes,
    optional: Sequence[bytes | None],
) -> bytes:
    """Return one row; all but the name is JSON already, or needs no escaping.

    `optional` has the values of `fields.OPTIONAL` as a COPY tuple has them.
    """
    # Joined by hand: the params are sent back as they came, and nothing is encoded twice.
    return b"".join(
        (_START, event_id, _name_part(name), params, _end_part(created_at, _said(optional)))
    )


def encode_plain(
    id_head: bytes,
    id_lows: Sequence[bytes],
    names: Sequence[str],
    params: Sequence[bytes],
    created_at: bytes,
) -> list[bytes]:
    """Return many plain rows, by column; an id is the head and its own low part."""
    parts = {name: _name_part(name) for name in set(names)}
    start, end = repeat(_START + id_head), repeat(_end_part(created_at))
    # By map, as nothing of a row is computed: a quarter less than a comprehension takes.
    middle = map(parts.__getitem__, names)
    return list(map(b"".join, zip(start, id_lows, middle, params, end, strict=False)))


def of_stored(stored: Stored) -> bytes:
    """Return the row of a stored event; what is None is left out."""
    parts = [
        b'"%b":%b' % (field.name.encode(), field.kind.value.as_json(stored[field.name]))
        for field in ANSWERED
        if stored[field.name] is not None
    ]
    return b"{%b}" % b",".join(parts)


def of_tuple(row: bytes) -> bytes:
    """Return the row that a COPY tuple of ours is."""
    return of_stored(copy_reader.decode(row))


def _name_part(name: str) -> bytes:
    return b'","event_name":%b,"event_params":' % orjson.dumps(name)


def _end_part(created_at: bytes, said: bytes = b"") -> bytes:
    return b',"created_at":"%b"%b}' % (created_at, said)


def _said(optional: Sequence[bytes | None]) -> bytes:
    """Return the members that a client's own fields add to a row."""
    return b"".join(
        b',"%b":%b' % (field.name.encode(), field.kind.value.as_json(field.kind.value.read(value)))
        for field, value in zip(OPTIONAL, optional, strict=True)
        if field.is_answered and value is not None
    )
