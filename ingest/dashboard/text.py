"""Words for people."""

import math
from typing import Final

import msgspec

_KIB: Final = 1024
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_INDENTED_BYTES_MAX: Final = 64 * 1024
_INDENTED_GROWTH_MAX: Final = 8
"""A value may lie 128 levels deep, and have a line of its own there."""
_TENS: Final = 10
_SPANS: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun: `1 second`, `12 seconds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number(value: float) -> str:
    """Return a number with separators: `1,940`, `12,345.678`."""
    return f"{value:,}"


def size_of(count_bytes: float) -> str:
    """Return a number of bytes for people: `1.5 GiB`, `12 KiB`, `0 bytes`."""
    if count_bytes < _KIB:
        return count_of(int(count_bytes), "byte")
    size, units = count_bytes / _KIB, iter(_UNITS)
    unit = next(units)
    for larger in units:
        if size < _KIB:
            break
        size, unit = size / _KIB, larger
    return f"{size:,.1f} {unit}" if size < _TENS else f"{size:,.0f} {unit}"


def span_of(seconds: float) -> str:
    """Return a time for people, in the unit that suits it: `3.2 ms`, `12 s`, `4 min`, `2 days`."""
    if seconds == math.inf:
        return "more than 10 s"
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds else "0 ms"
    if seconds < _TENS:
        return f"{seconds:.1f} s"
    for unit_s, unit in _SPANS:
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:,.0f} {unit}"
    return f"{seconds:.0f} s"


def shown(text: str) -> str:
    """Return a text whose control and direction characters are seen and do nothing."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def cut(text: str, chars: int) -> str:
    """Return a text, or its beginning with a `…` behind it."""
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def shown_json(text: str) -> str:
    """Return JSON that is the same value, whose control and direction characters are escapes.

    But for line breaks and tabs, which are no part of its strings; where it is no JSON, it changes.
    """
    return "\n".join(
        line if line.isprintable() else "".join(map(_shown_in_json, line))
        for line in text.split("\n")
    )


def pretty_json(raw: bytes) -> str:
    """Return JSON as `shown_json`, indented unless that would make it much longer."""
    if len(raw) <= _INDENTED_BYTES_MAX:
        indented = msgspec.json.format(raw, indent=2)
        if len(indented) <= _INDENTED_GROWTH_MAX * len(raw):
            raw = indented
    return shown_json(raw.decode())


def moved(texts: list[str], place: int, by: int) -> list[str]:
    """Return texts of which one has another place."""
    rest = texts[:place] + texts[place + 1 :]
    return [*rest[: place + by], texts[place], *rest[place + by :]]


def _shown_in_json(character: str) -> str:
    return character if character.isprintable() or character in "\r\t" else _escape(character)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return "".join(f"\\u{int.from_bytes(pair):04x}" for pair in pairs)
