"""A batch holds nobody else up, whatever it is made of."""

import asyncio

import pytest

from ingest.errors import Code, Refusal
from ingest.events import document
from ingest.events.document import bounds
from tests.events.document.splitting import EVENT, MIB

HOSTILE = {
    "white space": (b"", b" "),
    "an array of white space": (b"[", b" "),
    "white space behind the array": (b"[1]", b" "),
    "white space in an event": (b"[{", b" "),
    "arrays in an array": (b"[[", b"[],"),
    "a string": (b'["', b"a"),
    "backslashes": (b'["', b"\\"),
    "escapes": (b'["', b'a\\n\\"'),
    "escaped surrogates": (b'["', b"\\ud800"),
    "strings": (b"[[", b'"",'),
    "commas": (b"[[", b","),
    "deep brackets": (b"[[", b"[[[[[[[[1]]]]]]]],"),
}


async def count_turns(body: bytes, *, is_ndjson: bool) -> tuple[int, Code | None]:
    """Return how often another task had a turn meanwhile, and the code of a refusal."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        await document.split(body, is_ndjson=is_ndjson, events_max=10_000, event_bytes_max=MIB)
    except Refusal as refusal:
        return turns, refusal.code
    finally:
        counting.cancel()
    return turns, None


@pytest.mark.parametrize(("begin", "unit"), HOSTILE.values(), ids=list(HOSTILE))
async def test_others_have_a_turn_for_every_piece_of_a_hostile_document(
    begin: bytes, unit: bytes
) -> None:
    """Whatever it is made of: at least one for 32 KiB."""
    body = begin + unit * (2 * MIB // len(unit))
    turns, _ = await count_turns(body, is_ndjson=False)
    assert turns >= len(body) // bounds.PIECE_BYTES - 1


@pytest.mark.parametrize(
    ("body", "is_ndjson", "walks"),
    [
        (b"[" + b", ".join([EVENT] * 9000) + b"]", False, 1),
        (b"[" + b", ".join([b'["' + b"a" * 70 + b'"]'] * 9000) + b"]", False, 1),
        (b"\n".join([EVENT] * 9000), True, 1),
        (b"[1" + b" " * MIB + b"]", False, 2),
        (b"1" + b" " * MIB, True, 1),
    ],
    ids=["events", "arrays", "lines", "space-behind-a-value", "space-behind-a-line"],
)
async def test_others_have_a_turn_for_every_piece_of_a_good_batch(
    body: bytes, *, is_ndjson: bool, walks: int
) -> None:
    """White space behind a value is walked forth and back."""
    turns, code = await count_turns(body, is_ndjson=is_ndjson)
    assert code is None
    assert turns >= walks * (len(body) // bounds.PIECE_BYTES - 1)


@pytest.mark.parametrize("unit", [b"\n", b"\r\n", b" \n", b" ", b" " * 40_000 + b"\n"])
async def test_others_have_a_turn_for_every_piece_of_blank_lines(unit: bytes) -> None:
    """Short or long."""
    body = unit * (2 * MIB // len(unit))
    turns, code = await count_turns(body, is_ndjson=True)
    assert turns >= len(body) // bounds.PIECE_BYTES - 1
    assert code is Code.EMPTY_BATCH


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        (b"[", Code.INVALID_JSON),
        (b'{"a":', Code.INVALID_JSON),
        (b"0,", Code.PAYLOAD_TOO_LARGE),
        (b"[],", Code.PAYLOAD_TOO_LARGE),
        (b'{"a":1},', Code.PAYLOAD_TOO_LARGE),
        (b",", Code.INVALID_JSON),
    ],
)
async def test_document_is_refused_before_all_of_it_was_walked(unit: bytes, wanted: Code) -> None:
    """As soon as it is sure that it does not end, or has too many values."""
    body = b"[" + unit * (8 * MIB // len(unit))
    turns, code = await count_turns(body, is_ndjson=False)
    assert code is wanted
    assert turns < 50


async def test_events_of_a_megabyte_are_parsed_one_at_a_time() -> None:
    """With turns for others between them, also where the parser has to look twice."""
    event = b'["\\ud800"' + b',"\\ud800\\\\"' * 60_000 + b"]"
    body = b"[" + b",".join([event] * 4) + b"]"
    turns, code = await count_turns(body, is_ndjson=False)
    assert code is None
    assert turns >= 2 * len(body) // bounds.PIECE_BYTES - 1
