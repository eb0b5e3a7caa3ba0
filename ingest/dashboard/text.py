"""Words for people."""

import json


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun: `1 second`, `12 seconds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number(value: float) -> str:
    """Return a number with separators: `1,940`, `12,345.678`."""
    return f"{value:,}"


def shown(text: str) -> str:
    """Return a text whose control and direction characters are seen and do nothing."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def cut(text: str, chars: int) -> str:
    """Return a text, or its beginning with a `…` behind it."""
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def shown_json(text: str) -> str:
    """Return JSON that is the same value, whose control and direction characters are escapes."""
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )
