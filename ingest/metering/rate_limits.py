"""Rate limits: how much an app, or a key, may send in a second and in a day."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ingest import values

EVENTS_MAX: Final = 1_000_000_000
BYTES_MAX: Final = 1 << 50
_BYTES: Final = "bytes"
_NONE: Final = ("", "none")
_DIGITS_MAX: Final = 16
_CHARS_SHOWN: Final = 40


class BadRateLimit(ValueError):  # noqa: N818 - a mistake of whoever wrote it
    """What was written is no limit; says why, in one sentence."""


class RateLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may be sent and no more; None for as much as comes."""

    events_per_second: int | None = None
    events_burst: int | None = None
    """So many may come at once; None for those of a second."""
    events_per_day: int | None = None
    bytes_per_second: int | None = None
    """Of bodies, inflated; those of a second may come at once."""
    bytes_per_day: int | None = None

    def __bool__(self) -> bool:
        return self != _UNLIMITED

    @property
    def burst(self) -> int | None:
        """So many events may come at once; None for any number."""
        return self.events_burst or self.events_per_second

    @property
    def has_day(self) -> bool:
        """Whether there is one by the day."""
        return self.events_per_day is not None or self.bytes_per_day is not None

    def part(self, parts: int) -> "RateLimits":
        """Return one of so many even parts, of each limit one at least."""
        amounts = {name: getattr(self, name) for name in NAMES}
        return RateLimits(
            **{
                name: None if amount is None else max(1, amount // parts)
                for name, amount in amounts.items()
            }
        )

    @property
    def words(self) -> list[str]:
        """Each limit in words."""
        burst = f" ({self.events_burst:,} at once)" if self.events_burst else ""
        found = (
            (self.events_per_second, f"events a second{burst}"),
            (self.events_per_day, "events a day"),
            (self.bytes_per_second, "bytes a second"),
            (self.bytes_per_day, "bytes a day"),
        )
        return [f"{amount:,} {told}" for amount, told in found if amount is not None]


NAMES: Final = RateLimits.__struct_fields__
"""Of its limits: also what their columns are called."""
_UNLIMITED: Final = RateLimits()


def read(texts: Mapping[str, str], before: RateLimits = _UNLIMITED) -> RateLimits:
    """Return limits as people write them, by name; what is not there is as it was before.

    "none", or nothing, is no limit. Raises BadRateLimit.
    """
    given = {name: _read_amount(name, texts[name]) for name in NAMES if name in texts}
    found = msgspec.structs.replace(before, **given)
    if found.events_burst is not None and found.events_per_second is None:
        raise BadRateLimit(
            "A burst is of events a second: say how many these may be, too, or none for the burst."
        )
    return found


def _read_amount(name: str, text: str) -> int | None:
    stripped = text.strip()
    if stripped.lower() in _NONE:
        return None
    amount = values.read(stripped.replace(",", ""), name, int)
    most = BYTES_MAX if name.startswith(_BYTES) else EVENTS_MAX
    if isinstance(amount, str) and amount.isascii() and amount.isdigit():
        amount = int(amount) if len(amount) <= _DIGITS_MAX else most + 1
    if not isinstance(amount, int) or not 1 <= amount <= most:
        shown = text if len(text) <= _CHARS_SHOWN else f"{text[:_CHARS_SHOWN]}…"
        unit = ", or with a unit, as 10MB" if name.startswith(_BYTES) else ""
        raise BadRateLimit(
            f"{name.replace('_', ' ')}: {shown!r} is no limit; write 1 to {most:,}{unit}, or none."
        )
    return amount
