"""The contract of an event's body once more, by Python's own JSON parser: slow, and independent.

It keeps a number's every digit, and it finds each limit on its own. Where the contract leaves the
decoder a choice, it is not sure and says no.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, NamedTuple

_FIELDS: Final = {"event_name", "event_params"}
_DIGITS_MAX: Final = 400
_EXPONENT_DIGITS_MAX: Final = 3
_UNUSUAL_NUMBERS_MAX: Final = 1_000
_LEVELS_MAX: Final = 128
_RECURSION_MAX: Final = 20_000


class Content(NamedTuple):
    """What an event says: its name, and its parameters with each number as a Number."""

    name: str
    params: dict[str, Any]


class Number(NamedTuple):
    """A number with all its digits, which is not equal to true or false."""

    value: Decimal


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its keys, also those that come again."""


def read(body: bytes) -> Content:
    """Return what a good body says; raise ValueError for what is no JSON."""
    fields = _decode(body.decode())
    return Content(fields["event_name"], fields.get("event_params") or {})


def read_params(text: str) -> dict[str, Any]:
    """Return what a stored event's parameters say."""
    params: dict[str, Any] = _decode(text)
    return params


def _decode(text: str) -> Any:  # noqa: ANN401 - any JSON value
    with _deep_recursion():
        return json.loads(
            text, parse_float=_number, parse_int=_number, parse_constant=_refuse_constant
        )


def _number(text: str) -> Number:
    return Number(Decimal(text))


def are_equal(one: Content, other: Content) -> bool:
    """Return whether two events say the same."""
    with _deep_recursion():
        return one == other


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let Python's parser go deeper than the decoder may."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(_RECURSION_MAX)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def is_allowed(body: bytes, name_chars_max: int) -> bool:
    """Return whether an event must be let through; False also where that is not sure."""
    numbers: list[str] = []

    def note(text: str) -> int:
        numbers.append(text)
        return 0

    try:
        with _deep_recursion():
            fields = json.loads(
                body.decode(),
                parse_float=note,
                parse_int=note,
                parse_constant=_refuse_constant,
                object_pairs_hook=_Object,
            )
    except ValueError:
        return False
    return (
        isinstance(fields, _Object)
        and _are_good_fields(fields, name_chars_max)
        and _levels(dict(fields).get("event_params")) <= _LEVELS_MAX
        and len(numbers) <= _UNUSUAL_NUMBERS_MAX
        and all(map(_is_good_number, numbers))
        and all(map(_is_good_string, _strings(fields)))
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _are_good_fields(fields: _Object, name_chars_max: int) -> bool:
    found = dict(fields)
    name, params = found.get("event_name"), found.get("event_params")
    return (
        len(found) == len(fields)
        and found.keys() <= _FIELDS
        and isinstance(name, str)
        and 0 < len(name) <= name_chars_max
        and (isinstance(params, _Object) or params is None)
    )


def _levels(params: Any) -> int:  # noqa: ANN401 - any JSON value
    levels, inner = 0, [params]
    while inner := [each for each in inner if isinstance(each, list)]:
        levels += 1
        inner = [part for each in inner for part in _parts(each)]
    return levels


def _parts(value: list[Any]) -> list[Any]:
    return [content for _, content in value] if isinstance(value, _Object) else value


def _is_good_number(text: str) -> bool:
    mantissa, _, exponent = text.lower().lstrip("-").partition("e")
    digits = mantissa.replace(".", "")
    if len(digits) > _DIGITS_MAX or len(exponent.lstrip("+-0")) > _EXPONENT_DIGITS_MAX:
        return False
    value = float(text.lstrip("-"))
    return value != float("inf") and (value > 0 or not digits.strip("0"))


def _is_good_string(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _strings(fields: _Object) -> Iterator[str]:
    """Yield every string, also behind a key that comes again."""
    waiting: list[Any] = [fields]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, _Object):
            waiting.extend(part for pair in item for part in pair)
        elif isinstance(item, list):
            waiting.extend(item)
