"""Stored rows as JSON, the way that clients get them, and what is put around them."""

from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from ingest.pipeline import tuples

OPEN: Final = b'{"status":"success","data":['
CLOSE: Final = b"]}"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


def alone(row: bytes) -> bytes:
    """Return the body of an answer with one row."""
    return OPEN + row + CLOSE


def row_json(
    event_id: bytes, name: str, params: bytes, created_at: bytes, timestamp: bytes | None
) -> bytes:
    """Return one row; all but the name is JSON already, or needs no escaping."""
    happened = b"" if timestamp is None else b',"timestamp":"%b"' % timestamp
    # Joined by hand: the params are sent back as they came, and nothing is encoded twice.
    return b"".join(
        (
            b'{"id":"',
            event_id,
            b'","event_name":',
            orjson.dumps(name),
            b',"event_params":',
            params,
            b',"created_at":"',
            created_at,
            b'"',
            happened,
            b"}",
        )
    )


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


def rfc3339(micros: int) -> bytes:
    """Return microseconds since 2000-01-01 UTC as text: to the millisecond, if that is exact."""
    precision = "microseconds" if micros % 1000 else "milliseconds"
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z").encode()
