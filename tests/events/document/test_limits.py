"""A batch has at least one event and at most so many; one that is too large costs no other."""

import pytest

from ingest.errors import Code
from ingest.events.document import bounds
from tests.events.document.splitting import EVENT, MIB, in_pieces, split


@pytest.mark.parametrize("body", [b"[]", b" [ \n] ", b"[" + b" " * MIB + b"]"])
def test_batch_without_an_event_is_refused(body: bytes) -> None:
    """Which is well-formed."""
    assert split(body) is Code.EMPTY_BATCH
    with in_pieces(8):
        assert split(body[:1000].replace(b"[" + b" " * 999, b"[]")) is Code.EMPTY_BATCH


@pytest.mark.parametrize("body", [b"", b"\n \r\n\n", b" " * MIB, b"\n" * MIB])
def test_lines_without_an_event_are_refused(body: bytes) -> None:
    """However many are blank."""
    assert split(body, is_ndjson=True) is Code.EMPTY_BATCH


@pytest.mark.parametrize("value", [b"0", EVENT, b'["' + b"a" * 100 + b'"]'])
@pytest.mark.parametrize("whole_bytes_max", [-1, bounds.WHOLE_BYTES_MAX])
def test_batch_may_have_as_many_events_as_its_limit(
    monkeypatch: pytest.MonkeyPatch, value: bytes, whole_bytes_max: int
) -> None:
    """And not one more."""
    monkeypatch.setattr(bounds, "WHOLE_BYTES_MAX", whole_bytes_max)
    for events, wanted in ((2500, [value] * 2500), (2501, Code.PAYLOAD_TOO_LARGE)):
        assert split(b"[" + b",".join([value] * events) + b"]", events_max=2500) == wanted
        assert split(b"\n".join([value] * events), is_ndjson=True, events_max=2500) == wanted


@pytest.mark.parametrize("size", [100, 101, 20_000])
@pytest.mark.parametrize("piece_bytes", [8, 64, bounds.PIECE_BYTES])
def test_event_that_is_too_large_is_cut_and_costs_its_neighbours_nothing(
    size: int, piece_bytes: int
) -> None:
    """White space around it does not count, and is not taken for its end."""
    event = b'"' + b"a" * (size - 2) + b'"'
    for space in (b"", b" " * 300):
        values = [b"1", event, b'{"a":2}']
        body = b",".join(space + value + space for value in values)
        wanted = [value[:101] for value in values]
        assert split(b"[%b]" % body, event_bytes_max=100) == wanted
        with in_pieces(piece_bytes):
            assert split(b"[%b]" % body, event_bytes_max=100) == wanted
            lines = b"\n".join(space + value + space for value in values)
            assert split(lines, is_ndjson=True, event_bytes_max=100) == wanted


def test_line_is_malformed_by_what_stands_behind_long_white_space() -> None:
    """It is not cut to something that is well-formed."""
    (event,) = split(b"{}" + b" " * 300 + b"x", is_ndjson=True, event_bytes_max=100)
    assert event == b"{}" + b" " * 99


def test_document_with_too_many_deep_brackets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take a second, and nobody means it."""
    deep = b"[[" + b"[[[[[[1]]]]]]," * 5000 + b"1]]"
    body = b"[" + b",".join([EVENT, deep]) + b"]"
    with in_pieces():
        assert len(split(body)) == 2
        monkeypatch.setattr(bounds, "TURNS_MAX", 2)
        assert split(body) is Code.PAYLOAD_TOO_LARGE


@pytest.mark.parametrize("levels", [129, 130, 131, 132, 133, 500, 970, 1000, 2000, 50_000])
@pytest.mark.parametrize("inner", [b"", b'"\\ud800"', b'"]]"'])
def test_deep_value_is_an_event_of_its_own(levels: int, inner: bytes) -> None:
    """Whatever the parser can follow: its neighbours are found, and it is for others to refuse."""
    deep = b"[" * levels + inner + b"]" * levels
    for values in ([deep], [EVENT, deep, EVENT], [deep, EVENT, deep]):
        body = b"[" + b" , ".join(values) + b"]"
        assert split(body) == values
        with in_pieces(64):
            assert split(body) == values
