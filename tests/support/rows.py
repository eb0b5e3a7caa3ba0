"""Rows of tests, with what a client may say of them."""

from ingest.events import copy_format
from ingest.events.fields import OPTIONAL


def tail(created_us: int, timestamp_us: int | None = None, key: bytes | None = None) -> bytes:
    """Return the tail of a row with a time and a key of its client's; times are since 2000."""
    said = {
        "timestamp": None if timestamp_us is None else copy_format.time(timestamp_us),
        "idempotency_key": key,
    }
    return copy_format.tail(created_us, [said.get(field.name) for field in OPTIONAL])
