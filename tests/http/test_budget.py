"""The budget: what clients that read nothing, or never come to an end, may make the server hold."""

import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ingest.errors import Refusal
from ingest.http.budget import FREE_BYTES, Budget, Share
from tests.conftest import StartServer
from tests.http.cases import EVENT, HOST, JSON, KEY, POST, chunked, join, post
from tests.http.checks import assert_refusal, assert_success
from tests.http.test_peers import HEALTH, flood
from tests.support.raw import RawClient, connected
from tests.support.server import Server, wait_for

MIB = 1 << 20
CLIENTS = 60
EVENTS = 1_000
TEXT = b"x" * 1_600


def batch(server: Server) -> bytes:
    """Return a batch in some KB of gzip whose answer is 1.8 MB, and so longer than sockets hold."""
    event = b'{"event_name":"a","event_params":{"text":"%b"}}' % TEXT
    body = gzip.compress(b"[%b]" % b",".join([event] * EVENTS))
    lines = (b"POST /events HTTP/1.1", HOST, b"X-API-Key: " + server.key.encode(), JSON)
    length = b"Content-Length: %d" % len(body)
    return join(*lines, b"Content-Encoding: gzip", length, body=body)


@contextmanager
def unread(server: Server, request: bytes, clients: int) -> Iterator[list[RawClient]]:
    """Send a request on each of so many connections that read nothing, with small buffers."""
    with ExitStack() as stack:
        found = [stack.enter_context(connected(server.port)) for _ in range(clients)]
        for client in found:
            client.send(request)
        yield found


def test_unread_answers_count_until_they_are_sent_or_cut(
    database_url: str, start_server: StartServer
) -> None:
    """Further batches are a 503 until the idle time-out; small events go on."""
    server = start_server(
        database_url, limits__bodies_bytes_max=8 * MIB, limits__idle_timeout_s=3.0
    )
    request = batch(server)
    with connected(server.port) as warm:
        assert warm.ask(request).status == 200
    before = server.memory_bytes()
    with unread(server, request * 4, CLIENTS):
        wait_for(lambda: is_told_to_come_again(server, request))
        assert server.post({"event_name": "small"}).status_code == 200
        assert server.post({"event_name": "keyed"}, **{"Idempotency-Key": "k"}).status_code == 200
        assert server.get("/healthz").status_code == 200
        assert server.memory_bytes() - before < 48 * MIB
        wait_for(lambda: _status(server, request) == 200, timeout_s=30.0)


def _status(server: Server, request: bytes) -> int:
    with connected(server.port) as client:
        return client.ask(request).status


def is_told_to_come_again(server: Server, request: bytes) -> bool:
    """Return whether a request is refused now; check how."""
    with connected(server.port) as client:
        answer = client.ask(request)
    if answer.status == 200:
        return False
    assert_refusal(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    return True


def test_heads_without_an_end_are_bounded_alone_and_together(server: Server) -> None:
    """Of each 16 KiB are taken; they cost no memory, and others are served."""
    assert server.get("/healthz").status_code == 200
    before = server.memory_bytes()
    header = b"X-A: " + b"a" * 8_000 + b"\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(200)]
        for client in clients:
            client.send(POST + b"\r\n" + HOST + b"\r\n" + header)
        for client in clients:
            client.send(header, header)
            assert_refusal(client.read(), 431, "headers_too_large")
        assert server.get("/healthz").status_code == 200
        assert server.memory_bytes() - before < 30 * MIB


def test_heads_that_wait_share_a_part_of_the_budget(
    database_url: str, start_server: StartServer
) -> None:
    """Beyond it a head that goes on is a 503; a short one is not, and goes on."""
    server = start_server(database_url, limits__bodies_bytes_max=MIB)
    begun = post(b"X-A: " + b"a" * 8_000).removesuffix(b"\r\n" + EVENT)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(40)]
        short = stack.enter_context(connected(server.port))
        for client in clients:
            client.send(begun)
        assert_refusal(clients[-1].read(), 503, "overloaded")
        request = post().replace(KEY, server.key.encode())
        short.send(request[:100], pause_s=0.1)
        assert_success(short.ask(request[100:]))


@pytest.mark.parametrize("endless", [b"0\r\n" + b"X-A: a\r\n" * 4_000, b"1;" + b"a" * 40_000])
def test_trailers_and_chunk_extensions_are_bounded(shared_server: Server, endless: bytes) -> None:
    """As a head is; what stands behind them is not read."""
    request = chunked(EVENT, end=endless).replace(KEY, shared_server.key.encode())
    with connected(shared_server.port) as client:
        client.send(request)
        assert_refusal(client.read(), 400, "bad_request")
        assert client.is_closed_by_server()


def test_pipelined_requests_wait_outside_of_the_server(server: Server) -> None:
    """Large ones that stand behind an answer that nobody reads are not taken from the network."""
    page = join(b"GET / HTTP/1.1", HOST)
    body = b"x" * 400_000
    waiting = post(body=body, line=b"POST /none HTTP/1.1")
    assert server.get("/").status_code == 200
    before = server.memory_bytes()
    with ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(connected(server.port))
            client.send(page * 200)
            flood(client, waiting)
        assert server.get("/healthz").status_code == 200
        assert server.memory_bytes() - before < 30 * MIB


def test_single_events_that_nobody_reads_the_answers_of_are_bounded(server: Server) -> None:
    """On the fast lane too, however many connections there are."""
    event = b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * 60_000)
    request = post(body=event).replace(KEY, server.key.encode())
    with connected(server.port) as client:
        assert_success(client.ask(request))
    before = server.memory_bytes()
    with ExitStack() as stack:
        for _ in range(10):
            flood(stack.enter_context(connected(server.port)), request)
        assert server.post({"event_name": "after"}).status_code == 200
        assert server.memory_bytes() - before < 40 * MIB


def test_pipelined_requests_are_answered_in_order_on_both_lanes(shared_server: Server) -> None:
    """Many at once, small and large, with and without a body."""
    sizes = [10, 70_000, 300_000, 5]
    events = [b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * size) for size in sizes]
    requests = [post(body=event) for event in events] + [chunked(events[2]), HEALTH]
    with connected(shared_server.port) as client:
        client.send(b"".join(requests * 3).replace(KEY, shared_server.key.encode()))
        for _ in range(3):
            for size in (*sizes, sizes[2]):
                stored = assert_success(client.read())
                assert len(stored["event_params"]["b"]) == size
            assert client.read().body == b'{"status":"ok"}'


def test_share_is_refused_beyond_the_budget_and_given_back() -> None:
    """What is free fits always; a part counts in the whole."""
    budget = Budget(100_000)
    part = budget.part()
    keyless, keyed = Share(part), Share(budget)
    keyless.resize(20_000)
    with pytest.raises(Refusal, match="Too much"):
        Share(part).resize(10_000)
    keyed.resize(80_000)
    with pytest.raises(Refusal, match="Too much"):
        keyed.resize(80_001)
    with pytest.raises(Refusal, match="100000"):
        keyed.resize(100_001)
    assert keyed.size == 80_000
    Share(part).resize(FREE_BYTES)
    assert budget.held_bytes == 100_000 + FREE_BYTES
    keyless.count(0)
    keyed.count(0)
    assert (budget.held_bytes, part.held_bytes) == (FREE_BYTES, FREE_BYTES)
