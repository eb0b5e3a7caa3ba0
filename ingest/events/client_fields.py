"""What a client may say of its event beyond its content: its id, and when it happened.

Both put the event into a partition by time, so both are held to the same span around now: an
event of the year 9999 would make a partition of its own, one of 1970 thousands.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from ingest.errors import Code, Refusal
from ingest.events import copy_format
from ingest.events.event import Event
from ingest.events.fields import OPTIONAL

_UUID7: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
# RFC 3339, 5.6, with its notes: t and z may be small, and a space may stand for the T. A fraction
# may have any number of digits; those behind microseconds are cut off.
_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]++))?"
    r"(?:([Zz])|([+-][0-9]{2}:[0-5][0-9]))"  # fromisoformat takes minutes of an offset up to 99
)
_LEAP_SECOND: Final = 60
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_MS: Final = 946_684_800_000  # in Unix milliseconds
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


class Span(NamedTuple):
    """How far from now an event may have happened."""

    past_ms: int
    future_ms: int

    def holds(self, unix_ms: int, now_ms: int) -> bool:
        """Whether a time is inside. One before 1970 never is: an id can't carry it."""
        return max(0, now_ms - self.past_ms) <= unix_ms <= now_ms + self.future_ms

    def __str__(self) -> str:
        days, seconds = self.past_ms // 86_400_000, self.future_ms // 1000
        return f"between {days} days ago and {seconds} seconds ahead"


class ClientFields(NamedTuple):
    """What the client of one event said of it."""

    id: bytes | None = None
    """16 bytes; None if the server is to make one."""
    happened_ms: int | None = None
    """When it happened, in Unix milliseconds; None if it was just now."""
    values: Mapping[str, bytes] = MappingProxyType({})
    """Of the optional fields, by name, as a COPY tuple has them."""
    key: bytes | None = None
    """The 16 bytes that stand for an Idempotency-Key."""

    @property
    def optional(self) -> list[bytes | None]:
        """The value of each optional field, in the order of `fields.OPTIONAL`."""
        if self.key is None:
            return [self.values.get(field.name) for field in OPTIONAL]
        values = {**self.values, "idempotency_key": self.key}
        return [values.get(field.name) for field in OPTIONAL]


def read(event: Event, span: Span, now_ms: int) -> ClientFields:
    """Return what a client said; raise Refusal for what can't be true."""
    event_id = None if event.id is None else _read_id(event.id, span, now_ms)
    if event.timestamp is None:
        return ClientFields(event_id)
    timestamp_us = micros_of(event.timestamp)
    happened_ms = unix_ms(timestamp_us)
    if not span.holds(happened_ms, now_ms):
        raise Refusal(Code.INVALID_TIMESTAMP, f"timestamp must be {span}.")
    return ClientFields(event_id, happened_ms, {"timestamp": copy_format.time(timestamp_us)})


def _read_id(text: str, span: Span, now_ms: int) -> bytes:
    if not _UUID7.fullmatch(text):
        raise Refusal(Code.INVALID_ID, "id must be a UUID of version 7 (RFC 9562), or left out.")
    event_id = bytes.fromhex(text.replace("-", ""))
    if not span.holds(int.from_bytes(event_id[:6], "big"), now_ms):
        raise Refusal(Code.INVALID_ID, f"The time in id must be {span}.")
    return event_id


def unix_ms(micros: int) -> int:
    """Return microseconds since 2000 as Unix milliseconds."""
    return micros // 1000 + _EPOCH_MS


def micros_of(text: str) -> int:
    """Return a time with its zone in microseconds since 2000; raise Refusal for what is none."""
    found = _RFC3339.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        date, minute, second, fraction, _, offset = found.groups()
        is_leap = int(second) == _LEAP_SECOND
        micros = (fraction or "").ljust(6, "0")[:6]
        second = "59" if is_leap else second
        moment = datetime.fromisoformat(f"{date}T{minute}:{second}.{micros}{offset or '+00:00'}")
        if is_leap and not _is_last_minute(moment.astimezone(UTC)):
            raise ValueError
        return (moment - _EPOCH) // _MICROSECOND + is_leap * 1_000_000
    except (ValueError, OverflowError):
        raise Refusal(
            Code.INVALID_TIMESTAMP,
            'timestamp must be a time with its zone as in RFC 3339, "2026-01-10T12:00:00.123Z".',
        ) from None


def _is_last_minute(moment: datetime) -> bool:
    """Whether a leap second can follow: at the end of a month, in UTC (RFC 3339, 5.7)."""
    is_last_day = (moment + _DAY).day == 1
    return is_last_day and (moment.hour, moment.minute) == (23, 59)
