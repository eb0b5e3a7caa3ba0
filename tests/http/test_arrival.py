"""What a connection has received is cut where requests end, however it comes."""

import re

import pytest

from ingest.http.arrival import WHOLE_HEAD_BYTES_MAX, Arrival
from tests.http.cases import EVENT, chunked, post
from tests.http.test_peers import HEALTH

LARGE = b"x" * 100_000
ENDS = b"\r\n\r\n0\r\n\r\n" * 50
LENGTH = re.compile(rb"Content-Length: (\d+)")
REQUESTS = [
    HEALTH,
    post(),
    chunked(EVENT),
    chunked(ENDS, EVENT, ENDS),
    chunked(*[b"a"] * 30, end=b"0;last\r\nX-A: b\r\nX-C: d\r\n\r\n"),
    chunked(LARGE, end=b"000\r\n\r\n"),
    b"\r\n\r\n" + post(body=LARGE),
    HEALTH,
]


def length_of(head: bytes) -> int | None:
    """Return the length that a head gives to its body; None if that is chunked."""
    length = LENGTH.search(head)
    return None if b"chunked" in head else int(length[1] if length else 0)


def take_all(pieces: list[bytes]) -> list[bytes]:
    """Return what each request is taken for, where heads say how their bodies come."""
    arrival, taken, request = Arrival(), [], b""
    for received in pieces:
        arrival.add(received)
        while piece := arrival.take():
            is_head = b"\r\n\r\n" not in request.lstrip()
            request += piece
            if is_head and arrival.is_between:
                arrival.begin_body(length_of(request))
            if arrival.is_between:
                taken.append(request.lstrip())
                request = b""
    assert not arrival
    assert arrival.held_bytes == 0
    assert not request
    return [request for request in taken if request]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1_000, 16_384, 70_000, 1 << 20])
def test_requests_are_cut_where_they_end(size: int) -> None:
    """However the bytes come, and however many requests come at once."""
    whole = b"".join(REQUESTS)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert take_all(pieces) == [request.lstrip() for request in REQUESTS]


def test_empty_lines_are_one_piece() -> None:
    """256 KB of them would be 65,000 pieces otherwise."""
    arrival = Arrival()
    arrival.add(b"\r\n" * 5_000 + HEALTH)
    assert arrival.take() == b"\r\n" * 5_000 + HEALTH
    assert arrival.is_between


def test_head_without_an_end_becomes_too_long() -> None:
    """What is held of it is counted."""
    arrival = Arrival()
    too_long = []
    for _ in range(3):
        arrival.add(b"X-A: " + b"a" * 8_000 + b"\r\n")
        arrival.take()
        too_long.append(arrival.excess_bytes > 0)
    assert too_long == [False, False, True]
    assert arrival.is_in_head
    assert arrival.held_bytes > 2 * 24_000


def test_line_around_a_chunk_becomes_too_long() -> None:
    """As a head does, and is none."""
    arrival = Arrival()
    arrival.begin_body(None)
    arrival.add(b"1;" + b"a" * 20_000)
    arrival.take()
    arrival.take()
    assert arrival.excess_bytes == 20_002 - WHOLE_HEAD_BYTES_MAX
    assert not arrival.is_in_head
