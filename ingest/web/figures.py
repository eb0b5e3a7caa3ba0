"""The limits that the documentation names, as the server that serves it runs with."""

import msgspec

from ingest.events.nesting import LEVELS_MAX

_SECONDS_A_DAY = 86_400
_DAYS_A_YEAR = 365
_YEARS_FROM_DAYS = 2 * _DAYS_A_YEAR
_METRICS_LINK = ', <a href="/metrics">/metrics</a>'
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Values of the running configuration."""

    event_name_chars_max: int
    body_bytes_max: int
    batch_events_max: int
    batch_bytes_max: int
    timestamp_past_days_max: int
    timestamp_future_s_max: float
    key_in_query: bool
    has_metrics: bool
    """Whether they are at the address where the documentation is."""

    def words(self) -> dict[str, str]:
        """Return the figures as people read them, by the name of their placeholder."""
        return {
            "event_name_chars_max": f"{self.event_name_chars_max:,}",
            "body_size_max": size(self.body_bytes_max),
            "batch_events_max": f"{self.batch_events_max:,}",
            "batch_size_max": size(self.batch_bytes_max),
            "levels_max": str(LEVELS_MAX),
            "timestamp_past": span(self.timestamp_past_days_max * _SECONDS_A_DAY),
            "timestamp_future": span(self.timestamp_future_s_max),
            "metrics_link": _METRICS_LINK if self.has_metrics else "",
        }


def size(count_bytes: int) -> str:
    """Return a number of bytes in the largest unit that divides it: "1 MiB", "1,500 bytes"."""
    for unit, unit_bytes in _UNITS:
        if count_bytes % unit_bytes == 0:
            return f"{count_bytes // unit_bytes:,} {unit}"
    return _count(count_bytes, "byte")


def span(seconds: float) -> str:
    """Return a time in whole years, days or seconds, never more than it is."""
    days = int(seconds // _SECONDS_A_DAY)
    if days >= _YEARS_FROM_DAYS:
        return _count(days // _DAYS_A_YEAR, "year")
    if days:
        return _count(days, "day")
    return _count(int(seconds), "second")


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
