"""An event of a protocol that is not ours: what its SDK says of it, in the terms of ours.

An SDK's id is the same on every resend, so an id of ours is made of it: 48 bits of the event's time
in milliseconds, and 74 of a SHA-256 of protocol, name, subject and that id. So all that holds for a
client's own ids holds for it, for ever. Where there is no time to be put into it, the hash stands
for an Idempotency-Key. An event without an id gets a new one, and is not known again.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from ingest.errors import Refusal
from ingest.events import client_fields, copy_format
from ingest.events.client_fields import ClientFields, Span
from ingest.events.fields import rfc3339

_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0x2 << 62
_LOW: Final = (1 << 62) - 1
_MIDDLE: Final = 0xFFF << 64
_KEY_BYTES: Final = 16
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_LIKELY: Final = Span(past_ms=1826 * _DAY_MS, future_ms=_DAY_MS)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Foreign(NamedTuple):
    """One event of an SDK."""

    protocol: str
    """Whose ids it has."""
    name: str
    params: bytes
    """A JSON object."""
    timestamp: str | None
    """When it happened, as it was sent; None if nothing was."""
    id: str
    """The SDK's own; empty if it has none."""
    subject: str = ""
    """Whose event it is, where the SDK's id is only unique together with that."""


class Claims(NamedTuple):
    """What is made of it."""

    params: bytes
    said: ClientFields


def read(event: Foreign, span: Span, now_ms: int) -> Claims:
    """Return what an SDK says; a time that can't be true is kept among the parameters."""
    micros = _micros_of(event.timestamp)
    happened_ms = None if micros is None else client_fields.unix_ms(micros)
    if micros is None or happened_ms is None or not span.holds(happened_ms, now_ms):
        key = _digest(event)[:_KEY_BYTES] if event.id else None
        return Claims(_with_time(event), ClientFields(key=key))
    values = {"timestamp": copy_format.time(micros)}
    if not event.id:
        return Claims(event.params, ClientFields(None, happened_ms, values))
    # A resend may be out of the span already, or the first try may have been.
    is_near_an_end = not _within(span).holds(happened_ms, now_ms)
    key = _digest(event)[:_KEY_BYTES] if is_near_an_end else None
    said = ClientFields(derived_id(event, happened_ms), happened_ms, values, key)
    return Claims(event.params, said)


def derived_id(event: Foreign, unix_ms: int) -> bytes:
    """Return the 16 bytes of the id that an event has if it happened then."""
    return _uuid7(_digest(event), unix_ms)


def aside_id(event: Foreign, text: bytes, now_ms: int) -> bytes:
    """Return the id of an event that can't be stored: of its time, or else the same all day."""
    digest = _digest(event) if event.id else hashlib.sha256(text).digest()
    micros = _micros_of(event.timestamp)
    happened_ms = None if micros is None else client_fields.unix_ms(micros)
    if happened_ms is not None and _LIKELY.holds(happened_ms, now_ms):
        return _uuid7(digest, happened_ms)
    return _uuid7(digest, now_ms - now_ms % _DAY_MS)


def _uuid7(digest: bytes, unix_ms: int) -> bytes:
    random = int.from_bytes(digest[:10], "big")
    bits = (random & _LOW) | (random << 2 & _MIDDLE)
    return (unix_ms << 80 | _VERSION | _VARIANT | bits).to_bytes(16, "big")


@lru_cache(maxsize=4)  # a server has one
def _within(span: Span) -> Span:
    """Return a span without what a key is remembered for at both of its ends.

    A little less of what is to come: clocks are ahead by minutes, and each key takes a row.
    """
    return Span(max(0, span.past_ms - _DAY_MS), max(0, span.future_ms - _DAY_MS + _HOUR_MS))


def moment_of(event: Foreign) -> str | None:
    """Return when it happened as RFC 3339, if that is a time."""
    micros = _micros_of(event.timestamp)
    try:
        return None if micros is None else rfc3339(micros)
    except ValueError:  # past the year 9999, or before the first
        return None


def _digest(event: Foreign) -> bytes:
    parts = (event.protocol, event.name, event.subject, event.id)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def _micros_of(text: str | None) -> int | None:
    """Return a time in microseconds since 2000; without a zone it is UTC. None if it is none.

    By any form of ISO 8601, for a third of what it takes to hold it to RFC 3339.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return _micros_of_leap_second(text)


def _micros_of_leap_second(text: str) -> int | None:
    try:
        return client_fields.micros_of(text)
    except Refusal:
        return None


def _with_time(event: Foreign) -> bytes:
    if event.timestamp is None:
        return event.params
    text = orjson.dumps(event.timestamp.encode("utf-8", "replace").decode())
    return b'%b%b"$timestamp":%b}' % (
        event.params[:-1],
        b"" if len(event.params) == len(b"{}") else b",",
        text,
    )
