"""The parameters of a question's address, read one by one; what is wrong is said of which one."""

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from ingest.api.refusals import Refused, invalid
from ingest.insights import bounds
from ingest.insights.errors import BadQuestion

_KEYS: Final = {"key", "api_key", "apikey", "x-api-key", "token", "access_token"}
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_TIME: Final = "write a day as 2026-01-31, or a time as 2026-01-31T12:00:00Z"

Choice = TypeVar("Choice", bound=str)


class Query(Protocol):
    """Names, each with its values in order, as aiohttp has them."""

    def __iter__(self) -> Iterator[str]: ...

    def getall(self, key: str, default: list[str]) -> list[str]:
        """Return all values of a name."""


class Parameters:
    """What stands behind the `?` of one request; each name in it is known. Raises Refused."""

    def __init__(self, query: Query, known: Collection[str]) -> None:
        self._query = query
        for name in query:
            if name not in known:
                raise _unknown(name, known)

    def one(self, name: str) -> str | None:
        """Return the value of a parameter that may be there once; None if it is not, or empty."""
        values = self._query.getall(name, [])
        if len(values) > 1:
            raise invalid(name, "it may be given once")
        return values[0] if values and values[0] else None

    def many(self, name: str) -> Sequence[str]:
        """Return all values of one that may be there several times."""
        return [value for value in self._query.getall(name, []) if value]

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number."""
        text = self.one(name)
        if text is None:
            return default
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise invalid(name, f"write a whole number from {least} to {most}")
        return int(text)

    def choice(self, name: str, allowed: Sequence[Choice], default: Choice) -> Choice:
        """Return one of some words."""
        text = self.one(name)
        if text is None:
            return default
        for each in allowed:
            if each == text:
                return each
        raise invalid(name, f"write one of {', '.join(allowed)}")

    def zone(self, default: str) -> ZoneInfo:
        """Return the time zone of `timezone`."""
        try:
            return bounds.zone(self.one("timezone") or default)
        except BadQuestion as error:
            raise invalid("timezone", str(error)) from None

    def time(self, name: str, zone: ZoneInfo) -> datetime | None:
        """Return a time, in a zone unless it says its own; a day is its beginning."""
        text = self.one(name)
        return None if text is None else read_time(name, text, zone)

    def span(self, name: str) -> timedelta | None:
        """Return a length of time, as `7d`."""
        text = self.one(name)
        if text is None:
            return None
        found = _SPAN.fullmatch(text)
        if found is None:
            raise invalid(name, "write a number and a unit of s, m, h, d, w, as 30m, 24h, 7d")
        return int(found[1]) * _UNITS[found[2]]


def read_time(name: str, text: str, zone: ZoneInfo) -> datetime:
    """Return the time that a text means; raise Refused."""
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            read = datetime(day.year, day.month, day.day, tzinfo=zone)
        else:
            read = datetime.fromisoformat(text)
            read = read if read.tzinfo else read.replace(tzinfo=zone)
        return read.astimezone(zone)
    except (ValueError, OverflowError):
        raise invalid(name, _TIME) from None


def _unknown(name: str, known: Collection[str]) -> Refused:
    if name.lower() in _KEYS:
        return invalid(name, "an API key stands in the header X-API-Key, never in an address")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
    shown = name if len(name) <= 50 else f"{name[:50]}…"  # noqa: PLR2004 - enough to find it
    return invalid(shown, f"there is no such parameter; {hint}" if known else "there is none here")
