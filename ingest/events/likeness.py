"""Whether two events say the same: what a client sent under an id or key that was used before.

JSON is compared by its values, as `jsonb` does: neither spaces, the order of names nor how a number
is written count, but every digit's value does.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec

from ingest.events import copy_reader
from ingest.events.fields import Stored

COMPARED_BYTES_MAX: Final = 128 * 1024
"""JSON that one comparer parses: 5 ms of the event loop. Tries that are alike cost none of it."""

_UNREADABLE: Final = (msgspec.MsgspecError, ArithmeticError, RecursionError, ValueError)
_BOOLS: Final = ("true", "false")
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Comparer:
    """Compares events with others, as many as can be parsed without a pause."""

    def __init__(self) -> None:
        self._left_bytes = COMPARED_BYTES_MAX

    def is_different(self, row: bytes, first: Stored) -> bool:
        """Whether a COPY tuple says anything else than `first`; False where that is too long."""
        name, params, timestamp = copy_reader.said(row)
        if name != first["event_name"] or timestamp != first["timestamp"]:
            return True
        one, other = params.decode(), first["event_params"]
        if one == other or other is None:
            return False
        self._left_bytes -= len(one) + len(other)
        return self._left_bytes >= 0 and not _is_alike(one, other)


def _is_alike(one: str, other: str) -> bool:
    """Whether two JSON texts have the same value, or one that nobody can tell."""
    try:
        value, another = _decode(one), _decode(other)
    except _UNREADABLE:  # numbers of 5,000 digits, that somebody put there by SQL
        return True
    if value != another:
        return False
    return not any(word in one + other for word in _BOOLS) or _are_of_a_kind(value, another)


def _are_of_a_kind(one: Any, other: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether no value is True or False where an equal one, to Python, is 1 or 0."""
    match one, other:
        case dict(), dict():
            return all(_are_of_a_kind(value, other[name]) for name, value in one.items())
        case list(), list():
            return all(map(_are_of_a_kind, one, other))
        case _:
            return isinstance(one, bool) is isinstance(other, bool)
