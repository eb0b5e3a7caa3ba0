"""Values as the texts that they are compared by, and numbers in the ways that they are written."""

import math
import re
from typing import Final

from ingest.insights.questions import Scalar

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_EXACT_MAX: Final = 2**53
"""Up to here each whole number is a double of its own."""


def text(value: Scalar) -> str:
    """Return a value as the text that it is compared by."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(written: str) -> float | None:
    """Return the number that a text is in JSON; None of another, and past a double."""
    if not _NUMBER.fullmatch(written):
        return None
    value = float(written)
    return value if math.isfinite(value) else None


def ways(written: str) -> set[str]:
    """Return a text, and if it is a number how else one could have been written."""
    value = number(written)
    if value is None:
        return {written}
    whole = {str(int(value))} if value.is_integer() and abs(value) <= _EXACT_MAX else set()
    return {written, repr(value)} | whole
