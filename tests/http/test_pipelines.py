"""Pipelines that are larger than what is read, parsed or kept at once."""

import pytest

from tests.http.cases import AUTH, EVENT, HOST, KEY, chunked, join, post
from tests.http.pipelines import DEFERRED, GARBAGE, PLAIN, UPGRADE
from tests.support.raw import connected
from tests.support.server import Server

LARGE = b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * 900_000)


def tiny(count: int) -> bytes:
    """Return an event in so many chunks, of a byte each but for the last."""
    return chunked(*[b" "] * (count - 1), EVENT)


WAITING_CHUNKS = 2_048
"""So many chunks aiohttp lets wait for their handler."""
UNKNOWN = AUTH.replace(KEY, b"nk_" + b"x" * 43)
PIPELINES = {
    "a large body in chunks": (chunked(LARGE), [200]),
    **{
        f"{count} chunks": (tiny(count) + DEFERRED + tiny(count) + DEFERRED, [200] * 4)
        for count in range(WAITING_CHUNKS - 1, WAITING_CHUNKS + 3)
    },
    "large bodies": (post(body=LARGE) + DEFERRED + post(body=LARGE), [200, 200, 200]),
    "a large body that nobody reads": (
        post(body=LARGE).replace(AUTH, UNKNOWN) + DEFERRED,
        [401, 200],
    ),
    "many behind a body that nobody reads": (
        chunked(LARGE).replace(AUTH, UNKNOWN) + DEFERRED * 40,
        [401] + [200] * 40,
    ),
    "a body that is too large": (
        post(body=LARGE + b" " * 1_000_000) + DEFERRED,
        [413, 200],
    ),
    "many": (DEFERRED * 200, [200] * 200),
    "many upgrades": (UPGRADE * 100, [200] * 100),
    "all kinds": ((UPGRADE + PLAIN + DEFERRED) * 60, [200] * 180),
}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("is_half_closed", [False, True])
def test_every_request_of_a_large_pipeline_is_answered(
    shared_server: Server, name: str, *, is_half_closed: bool
) -> None:
    """In order, the malformed one behind them too, and then the connection ends."""
    requests, statuses = PIPELINES[name]
    with connected(shared_server.port) as client:
        client.send((requests + GARBAGE).replace(KEY, shared_server.key.encode()))
        if is_half_closed:
            client.half_close()
        assert [client.read().status for _ in statuses] == statuses
        assert client.read().status == 400
        assert client.is_closed_by_server()


CUT_OFF = {
    "a malformed chunk": chunked(LARGE, end=b"xyz\r\n"),
    "a trailer without an end": chunked(LARGE, end=b"0\r\n" + b"X-A: b\r\n" * 4_000),
    "half a body in chunks": chunked(LARGE, end=b""),
    "half a body": post(body=LARGE)[:-1],
}


@pytest.mark.parametrize("name", CUT_OFF)
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_body_that_nobody_reads_and_that_has_no_end_ends_the_connection(
    shared_server: Server, name: str, pause_s: float
) -> None:
    """Behind its answer, without a word in the log."""
    head, separator, body = CUT_OFF[name].replace(AUTH, UNKNOWN).partition(b"\r\n\r\n")
    with connected(shared_server.port) as client:
        client.send(head + separator, pause_s=pause_s)
        client.send(body)
        client.half_close()
        assert client.read().status in {400, 401}
        while client.socket.recv(65_536):
            pass
    assert "rror" not in shared_server.logs()


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_head_that_ends_in_another_way_is_refused_at_once(
    shared_server: Server, end: bytes
) -> None:
    """Whatever stands behind it."""
    with connected(shared_server.port) as client:
        client.send(join(b"GET /healthz HTTP/1.1", HOST).removesuffix(b"\r\n\r\n") + end + DEFERRED)
        assert client.read().status == 400
        assert client.is_closed_by_server()
