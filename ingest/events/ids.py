"""Event ids: UUIDv7 (RFC 9562) that increase strictly within a process while its clock is sane.

Layout, in bits: 48 of Unix milliseconds, 4 of version, 12 random, 2 of variant, 14 random, 48 of a
counter that starts at a random 47-bit value. The first 80 bits are drawn anew in each millisecond,
so an event costs an addition, not a random number. Whoever draws in the same millisecond, another
process or this one again, collides with a chance of about 1 in 2**73.

When the clock steps back a little, the counter goes on in the last millisecond that was used, so
ids keep their order. When it steps back by more than STEP_BACK_MS_MAX it had been wrong before, and
is followed: ids that went on from there would carry a time that nobody has, lie outside of all
partitions, and be refused when a client sends them back. They are drawn anew, so they are as unique
as those of two processes, in milliseconds that were used already as well.
"""

import os
import time
from binascii import hexlify
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from ingest.events import copy_format

STEP_BACK_MS_MAX: Final = 5_000
"""A larger step back sets a wrong clock right; NTP slews what is below 128 ms."""

_COUNTER_START_BITS = 47
_COUNTER_END = 1 << 48
_POSTGRES_EPOCH_MS = 946_684_800_000  # 2000-01-01 in Unix milliseconds
_VERSION = 0x7000
_VARIANT = 0x8000


class Moment(NamedTuple):
    """A time of receipt, in the two forms that an event needs."""

    row: bytes
    """The tail of a plain event's binary COPY tuple (`copy_format.tail`)."""
    text: bytes
    """RFC 3339 in UTC with milliseconds, for the answer."""
    unix_ms: int

    @property
    def micros(self) -> int:
        """Microseconds since 2000-01-01 UTC."""
        return (self.unix_ms - _POSTGRES_EPOCH_MS) * 1000


class Stamps(NamedTuple):
    """What many events are stamped with, by column: ids, and one moment of receipt for all."""

    head: bytes
    """What the ids have in common, 10 bytes."""
    lows: list[bytes]
    """The 6 bytes of each id behind the head."""
    head_text: bytes
    """`head` as text, 24 characters."""
    low_texts: list[bytes]
    """`lows` as text, 12 characters each."""
    received: Moment


class IdSequence:
    """Stamps events with an id and a time of receipt. Not shared between processes."""

    def __init__(self) -> None:
        self._now_ms = -1
        self._id_ms = -1
        self._counter = 0
        self._prefix = b""
        self._prefix_text = b""
        self._moment = moment(0)

    def next(self) -> tuple[bytes, bytes, Moment]:
        """Return an id as 16 bytes, the same as 36 characters, and the moment of receipt."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms != self._now_ms:
            self._turn(now_ms)
        counter = self._counter = self._counter + 1
        if counter == _COUNTER_END:
            self._draw(self._id_ms + 1)
            counter = self._counter
        low = counter.to_bytes(6, "big")
        return self._prefix + low, self._prefix_text + hexlify(low), self._moment

    def take(self, count: int) -> Stamps:
        """Return what `next` does for `count` events, for a quarter of what each would cost."""
        self.next()
        if self._counter + count >= _COUNTER_END:
            self._draw(self._id_ms + 1)
        first = self._counter + 1
        self._counter += count
        lows = [counter.to_bytes(6, "big") for counter in range(first, first + count)]
        texts = hexlify(b"".join(lows), b",", 6).split(b",")
        return Stamps(self._prefix, lows, self._prefix_text, texts, self._moment)

    def _turn(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._moment = moment(now_ms)
        if now_ms > self._id_ms or now_ms < self._id_ms - STEP_BACK_MS_MAX:
            self._draw(now_ms)

    def _draw(self, id_ms: int) -> None:
        random = int.from_bytes(os.urandom(10), "big")
        self._id_ms = id_ms
        self._counter = random & ((1 << _COUNTER_START_BITS) - 1)
        middle = random >> 48
        version = _VERSION | (middle & 0x0FFF)
        variant = _VARIANT | (middle >> 12 & 0x3FFF)
        self._prefix = b"%b%b%b" % (
            id_ms.to_bytes(6, "big"),
            version.to_bytes(2, "big"),
            variant.to_bytes(2, "big"),
        )
        text = self._prefix.hex()
        self._prefix_text = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-".encode()


def moment(unix_ms: int) -> Moment:
    """Return the two forms of a Unix time in milliseconds."""
    seconds, millis = divmod(unix_ms, 1000)
    text = b"%b.%03dZ" % (_second_text(seconds), millis)
    micros = (unix_ms - _POSTGRES_EPOCH_MS) * 1000
    return Moment(copy_format.tail(micros), text, unix_ms)


def id_text(event_id: bytes) -> bytes:
    """Return the 36 characters of an id."""
    text = hexlify(event_id)
    return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def moved(event_id: bytes, unix_ms: int) -> bytes:
    """Return an id with another time in it; it is as unique as it was."""
    return unix_ms.to_bytes(6, "big") + event_id[6:]


@lru_cache(maxsize=1)  # formatting it anew each millisecond took 2 % of a busy server's time
def _second_text(unix_s: int) -> bytes:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%S}".encode()
