"""A batch is split as the grammar says, however long it is."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.errors import Code
from ingest.events.document import bounds
from tests.events.document.splitting import EVENT, in_pieces, refused, split
from tests.http.documents import PARAMS

EXAMPLES = 200
PIECES = [8, 9, 16, 64, bounds.PIECE_BYTES]
"""The shortest has room for an escape of six bytes and the quotation mark before it."""

_GRAMMAR = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b" ", b"\r\n\t", b" " * 20]
_STRINGS = [
    b'"a"',
    b'""',
    b'"]"',
    b'"[{,"',
    rb'"\""',
    rb'"\\"',
    rb'"\\\""',
    b'"\x01"',
    b'"\xc3\xa9"',
]
_BROKEN_STRINGS = [
    rb'"\ud800"',
    rb'"\\ud800"',
    rb'"\\\uDFff"',
    rb'"\ud83d\ude00"',
    rb'"\ud8"',
    b'"\xff"',
]
_OTHERS = [b"0", b"-1.5e3", b"true", b"nul", b"NaN", b"\xef\xbb\xbf"]
_NESTED = [b"[]", b"{}", b'{"a":1}', b'{"a":{"b":[{"c":[[1]]}]}}', b"[[[[[[1]]]]]]"]
_SEAMS = [b'{"a":"},{"}', b',{"a":', EVENT]
_TOKENS = st.sampled_from([*_GRAMMAR, *_STRINGS, *_BROKEN_STRINGS, *_OTHERS, *_NESTED, *_SEAMS])
_VALUES = st.one_of(PARAMS, _TOKENS, st.just(EVENT))
_COMMAS = st.sampled_from([b",", b", ", b" ,\n  "])


@st.composite
def _arrays(draw: st.DrawFn) -> bytes:
    inner = draw(_COMMAS).join(draw(st.lists(_VALUES, max_size=12)))
    return draw(st.sampled_from([b"", b" \n"])) + b"[" + inner + b"]"


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    body = draw(_arrays())
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(body)))
        end = start + draw(st.integers(0, 3))
        body = body[:start] + draw(st.one_of(st.just(b""), _TOKENS)) + body[end:]
    return body


def _refuse_constant(text: str) -> None:
    raise ValueError(text)


def exact(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON by the grammar alone: each event says for itself whether it is UTF-8."""
    return json.loads(
        text.decode("utf-8", "surrogateescape"),
        parse_int=str,
        parse_float=str,
        parse_constant=_refuse_constant,
    )


def expected(body: bytes) -> list[Any] | Code:
    """Return the values that Python's own parser finds, or the code that the contract asks for."""
    try:
        values = exact(body)
    except (ValueError, RecursionError):
        return Code.INVALID_JSON
    if not isinstance(values, list):
        return Code.INVALID_JSON
    return values or Code.EMPTY_BATCH


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(body=_mutated(), piece_bytes=st.sampled_from(PIECES))
@example(body=b"[" + b",".join([EVENT] * 40) + b"]", piece_bytes=512)
@example(body=b"[" + b", ".join([b'{"a":[{"a":1}, {"a":2}]}'] * 20) + b"]", piece_bytes=64)
@example(body=b'["\\ud800",' + b"1," * 20 + b"2]", piece_bytes=8)
@example(body=b'["' + b"\\\\" * 40 + b'","\\', piece_bytes=9)
@example(body=b"[1,]", piece_bytes=8)
@example(body=b"[,1]", piece_bytes=8)
@example(body=b"[1}", piece_bytes=8)
def test_document_is_split_alike_at_once_in_pieces_and_by_python(
    body: bytes, piece_bytes: int
) -> None:
    """The same values, as they were sent, or the same refusal."""
    at_once = split(body)
    with in_pieces(piece_bytes):
        assert split(body) == at_once
    wanted = expected(body)
    assert (at_once if isinstance(at_once, Code) else list(map(exact, at_once))) == wanted
    if isinstance(at_once, list):
        assert all(event in body and event == event.strip() for event in at_once)


@settings(max_examples=EXAMPLES // 4, deadline=None, database=None)
@given(lines=st.lists(_VALUES.map(lambda value: value.replace(b"\n", b" "))), data=st.data())
def test_lines_are_split_alike_in_pieces_of_any_length(
    lines: list[bytes], data: st.DataObject
) -> None:
    """Each that is not blank is an event, whether it is well-formed or not."""
    ends = data.draw(st.lists(st.sampled_from([b"\n", b"\r\n", b"\n \n\n"]), min_size=len(lines)))
    body = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    wanted = [line.strip(b" \t\r") for line in lines if line.strip(b" \t\r")]
    for piece_bytes in PIECES:
        with in_pieces(piece_bytes):
            assert split(body, is_ndjson=True) == (wanted or Code.EMPTY_BATCH)
            assert split(body[:-1], is_ndjson=True) == (wanted or Code.EMPTY_BATCH)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{}", "must be a JSON array"),
        (b"\xef\xbb\xbf[1]", "must be a JSON array"),
        (b"[1", "ends before the array does"),
        (b'["a', "ends before the array does"),
        (b'["a\\', "ends before the array does"),
        (b"[1]]", "trailing characters (byte 3)"),
        (b"[] []", "trailing characters (byte 3)"),
        (b"[1}", "expected ',' or ']' (byte 2)"),
        (b"[1,2,,3]", "(byte 5)"),
        (b"[1,2,]", "(byte 5)"),
        (b"[1,2,03,4]", "(byte 6)"),
        (b'["aaaaaaaaaaaaaaaa",{"a":[}],3]', "(byte 26)"),
        (b'["\\ud800",1,x]', "(byte 12)"),
        (b"[" * 2000 + b"]" * 1999, "ends before the array does"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [8, bounds.PIECE_BYTES])
def test_malformed_document_is_refused_as_a_whole_with_the_reason(
    body: bytes, words: str, piece_bytes: int
) -> None:
    """With the byte of the whole body where it is known, in whatever piece it is."""
    assert words in refused(body)
    with in_pieces(piece_bytes):
        assert words in refused(body)
        assert split(body) is Code.INVALID_JSON


def test_wrong_guesses_are_given_up_and_change_nothing() -> None:
    """An event that holds what its neighbours begin with is not cut there."""
    items = b", ".join([b'{"a":1}'] * 30)
    body = b'[{"a":0}, ' + b", ".join([b'{"a":[%b]}' % items] * 50) + b"]"
    with in_pieces(100):
        assert split(body) == [b'{"a":0}'] + [b'{"a":[%b]}' % items] * 50
