"""Generated JSON documents, oddly written, and what of them an event may hold.

The model is written from the contract, not from the code: Python's parser keeps a number's text,
and each limit is checked on its own.
"""

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

DIGITS_MAX = 400
EXPONENT_DIGITS_MAX = 3

_SPACE = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
_DIGIT_COUNTS = st.one_of(st.integers(0, 6), st.sampled_from([17, 30, 199, 200, 201, 309, 310]))
_LONG_COUNTS = st.one_of(_DIGIT_COUNTS, st.sampled_from([399, 400, 401]))
_ESCAPES = st.sampled_from(
    [r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u00e9", r"\u0041", r"\uFFFF"]
)
_LONG_ESCAPES = st.sampled_from([r"\ud83d\udca5", r"\\u0000", r"\\\\u0000"])
_RARE_ESCAPES = st.sampled_from([r"\u0000", r"\\\u0000", r"\ud800", r"\udc00", "\ud800"])
_PLAIN = st.text(
    st.characters(min_codepoint=0x20, exclude_characters='"\\', exclude_categories=["Cs"]),
    max_size=6,
)


@st.composite
def _numbers(draw: st.DrawFn) -> str:
    digits = st.sampled_from("0123456789")
    whole = draw(st.sampled_from("123456789")) + draw(digits) * draw(_LONG_COUNTS)
    fraction = draw(digits) * draw(_LONG_COUNTS) + draw(digits)
    exponent = draw(st.sampled_from(["e", "E", "e+", "E-", "e-", "e00", "e-0"])) + str(
        draw(st.one_of(st.integers(0, 30), st.integers(290, 420), st.integers(0, 10**12)))
    )
    return (
        draw(st.sampled_from(["", "-"]))
        + draw(st.sampled_from([whole, "0"]))
        + draw(st.sampled_from(["", f".{fraction}"]))
        + draw(st.sampled_from(["", "", exponent]))
    )


def _strings(rare: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pieces = st.lists(st.one_of(_PLAIN, _ESCAPES, _LONG_ESCAPES, rare), max_size=4)
    return pieces.map(lambda found: f'"{"".join(found)}"')


@st.composite
def _join(draw: st.DrawFn, items: list[str], brackets: str) -> str:
    spaced = (draw(_SPACE) + item + draw(_SPACE) for item in items)
    return brackets[0] + draw(_SPACE) + ",".join(spaced) + brackets[1]


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(inner, max_size=4).flatmap(lambda items: _join(items, "[]"))
    return lists | _objects(inner)


def _objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    fields = st.tuples(_KEYS, _SPACE, _SPACE, inner).map(
        lambda found: f"{found[0]}{found[1]}:{found[2]}{found[3]}"
    )
    return st.lists(fields, max_size=5).flatmap(lambda items: _join(items, "{}"))


_KEYS = st.one_of(st.sampled_from(['"a"', '"b"', '""']), _strings(_ESCAPES))
_SCALARS = st.one_of(
    st.sampled_from(["null", "true", "false"]),
    _numbers(),
    _strings(_ESCAPES),
    _strings(_ESCAPES),
    _strings(_RARE_ESCAPES),
)
PARAMS: st.SearchStrategy[bytes] = _objects(st.recursive(_SCALARS, _containers, max_leaves=8)).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
"""JSON objects as bytes."""


def exact(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON without rounding a number."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def is_storable(params: bytes) -> bool:
    """Return whether the contract lets an event hold these parameters."""
    found: list[str] = []
    strings: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return ""

    document = json.loads(
        params.decode("utf-8", "surrogatepass"),
        parse_float=note,
        parse_int=note,
        object_pairs_hook=lambda pairs: _walk(pairs, strings),
    )
    assert document is not None
    return all(map(_is_storable_number, found)) and all(map(_is_storable_string, strings))


def _walk(pairs: list[tuple[str, object]], strings: list[str]) -> list[object]:
    """Note every string of an object, also behind a key that is given again later."""
    waiting: list[object] = [item for pair in pairs for item in pair]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            strings.append(item)
        elif isinstance(item, list):
            waiting.extend(item)
    return []


def _is_storable_string(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _is_storable_number(text: str) -> bool:
    mantissa, _, exponent = text.lower().lstrip("-").partition("e")
    digits = mantissa.replace(".", "")
    if len(digits) > DIGITS_MAX or len(exponent.lstrip("+-0")) > EXPONENT_DIGITS_MAX:
        return False
    value = float(text.lstrip("-"))
    return value != float("inf") and (value > 0 or not digits.strip("0"))
