"""Stored rows as JSON, the way that clients get them, and what is put around them."""

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import orjson

from ingest.events import copy_reader

OPEN: Final = b'{"status":"success","data":['
CLOSE: Final = b"]}"
_START: Final = b'{"id":"'


def alone(row: bytes) -> bytes:
    """Return the body of an answer with one row."""
    return OPEN + row + CLOSE


def alone_of(event_id: bytes, name: str, params: bytes, created_at: bytes) -> bytes:
    """Return the same for a plain event, in one piece: most events are answered with this."""
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


def row_json(
    event_id: bytes, name: str, params: bytes, created_at: bytes, timestamp: bytes | None
) -> bytes:
    """Return one row; all but the name is JSON already, or needs no escaping."""
    # Joined by hand: the params are sent back as they came, and nothing is encoded twice.
    return b"".join((_START, event_id, _name_part(name), params, _end_part(created_at, timestamp)))


def many(
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


def _name_part(name: str) -> bytes:
    return b'","event_name":%b,"event_params":' % orjson.dumps(name)


def _end_part(created_at: bytes, timestamp: bytes | None = None) -> bytes:
    happened = b"" if timestamp is None else b',"timestamp":"%b"' % timestamp
    return b',"created_at":"%b"%b}' % (created_at, happened)


def of_tuple(row: bytes) -> bytes:
    """Return the row that a COPY tuple of ours is."""
    stored = copy_reader.decode(row)
    timestamp = stored["timestamp"]
    return row_json(
        stored["id"].encode(),
        stored["event_name"],
        stored["event_params"].encode(),
        stored["created_at"].encode(),
        timestamp.encode() if timestamp else None,
    )
