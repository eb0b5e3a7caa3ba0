"""Stored rows as JSON, the way that clients get them, and what is put around them."""

from typing import Final

import orjson

from ingest.pipeline import tuples

OPEN: Final = b'{"status":"success","data":['
CLOSE: Final = b"]}"


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
    return row_of(event_id, name_part(name), params, end_part(created_at, timestamp))


def name_part(name: str) -> bytes:
    """Return what stands between the id and the parameters."""
    return b'","event_name":%b,"event_params":' % orjson.dumps(name)


def end_part(created_at: bytes, timestamp: bytes | None = None) -> bytes:
    """Return what stands behind the parameters."""
    happened = b"" if timestamp is None else b',"timestamp":"%b"' % timestamp
    return b',"created_at":"%b"%b}' % (created_at, happened)


def row_of(event_id: bytes, name_part: bytes, params: bytes, end_part: bytes) -> bytes:
    """Return the same as `row_json`; many events may share the parts."""
    # Joined by hand: the params are sent back as they came, and nothing is encoded twice.
    return b"".join((b'{"id":"', event_id, name_part, params, end_part))


def of_tuple(row: bytes) -> bytes:
    """Return the row that a COPY tuple of ours is."""
    stored = tuples.decode(row)
    timestamp = stored["timestamp"]
    return row_json(
        stored["id"].encode(),
        stored["event_name"],
        stored["event_params"].encode(),
        stored["created_at"].encode(),
        timestamp.encode() if timestamp else None,
    )
