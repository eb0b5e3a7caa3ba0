"""What is no JSON only for what SDKs write is read as they meant it; nothing else is touched."""

import asyncio
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import Refusal
from ingest.http.protocols import leniency
from ingest.http.protocols.leniency import original


def mended(body: bytes) -> bytes:
    """Return it, mended."""
    return asyncio.run(leniency.mended(body))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["NaN", "-Infinity", '"NaN', "\\", '\\"', "\\ud83c", "a\\\\ud83c", "I", "N", "\\NaN"]
)
NUMBERS = st.integers() | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def without_infinite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value with null for each number that JSON has no form for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [without_infinite(each) for each in value]
    if isinstance(value, dict):
        return {name: without_infinite(each) for name, each in value.items()}
    return value


@given(VALUES, st.booleans(), st.booleans())
def test_numbers_that_are_none_are_null(value: Any, is_ascii: bool, is_spaced: bool) -> None:  # noqa: ANN401, FBT001
    """Wherever they stand; texts that look like them stay."""
    separators = (", ", ": ") if is_spaced else (",", ":")
    text = json.dumps(value, ensure_ascii=is_ascii, separators=separators)
    assert json.loads(mended(text.encode())) == without_infinite(value)


@given(st.lists(TEXTS | st.sampled_from(["\ud83c", "a\udf89b", "\ud83c\ud83c"]), max_size=6))
def test_half_a_character_stands_behind_what_can_not_be_stored(texts: list[str]) -> None:
    """So a parser takes it, and it can be told what it was."""
    sent = json.dumps(texts).encode()
    found = mended(sent)
    assert len(msgspec.json.decode(found)) == len(texts)
    assert original(found) == sent
    halves = sum("\ud800" <= char <= "\udfff" for text in texts for char in text)
    assert found.count(rb"\u0000") - sent.count(rb"\u0000") == halves


@pytest.mark.parametrize("body", [b"", b'{"a": N', b'{"a": "', b"NaNN", b"\\", b'"\\', b"I" * 50])
def test_what_is_broken_otherwise_stays_so(body: bytes) -> None:
    """It is refused by the parser, and loses nothing here."""
    assert len(mended(body)) >= len(body.replace(b"NaN", b""))


@pytest.mark.parametrize(
    "piece",
    [b'\\"', b'"', b'"a",', b"\\n", b"N", b"I", b"\\ud8", b"-", b"-Infinit", b"\\u"],
)
def test_every_byte_is_looked_at_once(piece: bytes) -> None:
    """Of a megabyte as hostile as can be: else this takes minutes."""
    for body in (piece * (1_000_000 // len(piece)), b'{"batch":["' + piece * 200_000):
        assert mended(body) == body


@pytest.mark.parametrize("piece", [b"NaN", b"1NaN", b"-Infinity,", b"\\ud83c"])
def test_so_many_are_mended_and_no_more(piece: bytes) -> None:
    """They take time."""
    assert len(mended(piece * 90_000)) > 90_000
    with pytest.raises(Refusal):
        mended(piece * (leniency.MENDED_MAX + 1))


@given(st.lists(st.sampled_from(['"', "\\", "a", "NaN", "\\n" * 150, "x" * 5_000, '\\"'])))
def test_long_texts_are_copied_as_they_are(pieces: list[str]) -> None:
    """However many pieces they take."""
    text = "".join(pieces * 40)
    value = {"long": text, "nan": float("nan"), "after": [text[:7], -float("inf")]}
    assert json.loads(mended(json.dumps(value).encode())) == without_infinite(value)


def test_others_have_their_turn_meanwhile() -> None:
    """While a long body is mended."""

    async def work() -> int:
        turns, is_over = 0, False

        async def count() -> None:
            nonlocal turns
            while not is_over:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await leniency.mended(b'"a",' * 500_000)
        is_over = True
        await counting
        return turns

    assert asyncio.run(work()) > 100
