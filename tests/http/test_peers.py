"""Clients that are slow, silent, half gone, gone, too many, or never read."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.http.cases import EVENT, HOST, KEY, chunked, join, post
from tests.http.checks import assert_refusal, assert_success, locked_events, query
from tests.http.conftest import QUICK
from tests.support.raw import RawClient, connected
from tests.support.server import LANES, Server, wait_for

HEALTH = join(b"GET /healthz HTTP/1.1", HOST)
MIB = 1 << 20
PIPELINED_BYTES = 30 * MIB
MEMORY_GROWTH_MAX = 20 * MIB
CONNECTIONS_MAX = 8


def keyed(server: Server, request: bytes) -> bytes:
    """Put the server's key into a request."""
    return request.replace(KEY, server.key.encode())


def assert_serves(server: Server) -> None:
    """Check that other clients are served."""
    with connected(server.port) as client:
        assert_success(client.ask(keyed(server, post())))


BEGINNINGS = [
    post()[:10],
    post().partition(b"\r\n\r\n")[0],
    post().removesuffix(EVENT),
    post()[:-1],
    chunked(EVENT[:5], end=b""),
    chunked(end=b"")[:-2],
    post(b"Expect: 100-continue").removesuffix(EVENT),
]


def test_client_that_stops_in_the_middle_is_told_and_closed(http_server: Server) -> None:
    """A head or a body that does not go on gets 408, and the connection ends soon after."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(http_server.port)) for _ in BEGINNINGS]
        for client, beginning in zip(clients, BEGINNINGS, strict=True):
            client.send(keyed(http_server, beginning))
        assert clients[-1].read().status == 100
        for client in clients:
            answer = client.read()
            assert_refusal(answer, 408, "request_timeout")
            assert answer.says_close
            assert client.is_closed_by_server()
    assert_serves(http_server)


@pytest.mark.parametrize("lane", LANES)
def test_half_a_head_gets_its_408_though_the_connection_may_idle_for_less(
    database_url: str, start_server: StartServer, lane: str
) -> None:
    """It is not idle; a client that is closed without a word does not know why."""
    limits: dict[str, Any] = {"limits__head_timeout_s": 2, "limits__idle_timeout_s": 0.5}
    server = start_server(database_url, server__fast_lane=lane, **limits)
    with connected(server.port) as client:
        client.send(keyed(server, post()[:20]))
        assert_refusal(client.read(), 408, "request_timeout")
        assert client.is_closed_by_server()


def test_request_that_drips_gets_408(http_server: Server) -> None:
    """The time-outs are the whole head's and the whole body's: a byte now and then is no help."""
    request = keyed(http_server, post())
    head = request.removesuffix(EVENT)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(http_server.port)) for _ in range(3)]
        assert clients[1].ask(HEALTH).status == 200
        clients[2].send(head)
        began_s = time.monotonic()
        for client, rest in drip(clients, (request, request, EVENT)):
            assert rest, "it came to its end in the time that it takes to drip"
            assert_refusal(client.read(), 408, "request_timeout")
        assert time.monotonic() - began_s < 20 * QUICK["limits.head_timeout_s"]


def drip(clients: list[RawClient], data: tuple[bytes, ...]) -> Iterator[tuple[RawClient, bytes]]:
    """Send all of them a byte at a time; yield each that gets an answer, and what it did not send.

    A byte takes 0.03 s or more, so a body of 41 takes 1.2 s and a whole request 5 s.
    """
    rests = dict(zip(clients, data, strict=True))
    while rests:
        for client, rest in tuple(rests.items()):
            if not client.is_silent(0.03):
                yield client, rests.pop(client)
            else:
                client.send(rest[:1])
                rests[client] = rest[1:]


def test_slow_client_after_a_refusal_gets_no_second_answer(http_server: Server) -> None:
    """What is left of a refused body is read and dropped; it is not taken for a slow head."""
    body = b" " * 160
    request = post(body=body, line=b"POST /none HTTP/1.1")
    with connected(http_server.port) as client:
        assert_refusal(client.ask(request.removesuffix(body)), 404, "not_found")
        for _ in range(16):
            client.send(b" " * 10)
            assert client.is_silent(0.1)
        assert client.ask(HEALTH).body == b'{"status":"ok"}'


def test_silent_connection_is_closed_after_the_idle_timeout(http_server: Server) -> None:
    """Not before it, not with an answer, and soon after it; with or without requests before."""
    idle_s = QUICK["limits.idle_timeout_s"]
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(http_server.port)) for _ in range(3)]
        assert clients[1].ask(HEALTH).status == 200
        assert_success(clients[2].ask(keyed(http_server, post())))
        assert all(client.is_silent(idle_s / 6) for client in clients)
        assert all(client.is_closed_by_server() for client in clients)


@pytest.mark.parametrize("request_bytes", [post(), chunked(EVENT), HEALTH])
def test_half_closed_client_gets_its_answer(http_server: Server, request_bytes: bytes) -> None:
    """A client that closes its sending side behind its request is answered, then closed."""
    with connected(http_server.port) as client:
        client.send(keyed(http_server, request_bytes))
        client.half_close()
        assert client.read().status == 200
        assert client.is_closed_by_server()


def test_half_closed_client_gets_all_its_pipelined_answers(http_server: Server) -> None:
    """Not only the first of them."""
    count = 50
    with connected(http_server.port) as client:
        client.send(keyed(http_server, post()) * count)
        client.half_close()
        ids = {assert_success(client.read())["id"] for _ in range(count)}
        assert client.is_closed_by_server()
    assert len(ids) == count


@pytest.mark.parametrize("request_bytes", [post()[:-1], chunked(EVENT, end=b"")])
def test_body_that_a_half_close_cuts_off_is_refused_at_once(
    shared_server: Server, request_bytes: bytes
) -> None:
    """400, without waiting for the body's time-out (here 30 s)."""
    with connected(shared_server.port) as client:
        client.send(keyed(shared_server, request_bytes), pause_s=0.02)
        client.half_close()
        assert_refusal(client.read(), 400, "bad_request")
        assert client.is_closed_by_server()


def test_half_close_in_a_head_closes(http_server: Server) -> None:
    """There is nothing to answer."""
    with connected(http_server.port) as client:
        client.send(post()[:40])
        client.half_close()
        assert client.is_closed_by_server()


def test_client_that_resets_before_its_answer_has_its_event_stored(
    http_server: Server, http_url: str
) -> None:
    """An event that was taken is stored whoever waits for it; its neighbours are answered."""
    reset = keyed(http_server, post(body=b'{"event_name":"reset"}'))
    with ExitStack() as stack:
        neighbours = [stack.enter_context(connected(http_server.port)) for _ in range(5)]
        with locked_events(http_url):
            accepted = http_server.metrics()["nonito_events_accepted_total"]
            clients = [RawClient(http_server.port) for _ in range(5)]
            for client, neighbour in zip(clients, neighbours, strict=True):
                client.send(reset)
                neighbour.send(keyed(http_server, post()))
            wait_for(lambda: http_server.metrics()["nonito_events_accepted_total"] == accepted + 10)
            for client in clients:
                client.reset()
        for neighbour in neighbours:
            assert_success(neighbour.read())
    count = "SELECT count(*) FROM events WHERE event_name = 'reset'"
    wait_for(lambda: query(http_url, count)[0]["count"] == len(clients))
    assert_serves(http_server)


@pytest.mark.parametrize("at", [1, 40, 150, len(post()) - 5])
def test_client_that_resets_in_the_middle_disturbs_nobody(http_server: Server, at: int) -> None:
    """Wherever it goes away, no event is stored, nothing is logged, and others are served."""
    accepted = http_server.metrics()["nonito_events_accepted_total"]
    for _ in range(20):
        client = RawClient(http_server.port)
        client.send(keyed(http_server, post())[:at])
        client.reset()
    assert_serves(http_server)
    assert http_server.metrics()["nonito_events_accepted_total"] == accepted + 1
    assert "rror" not in http_server.logs()


def flood(client: RawClient, request: bytes) -> int:
    """Send as much of PIPELINED_BYTES as the server takes; return how much that was."""
    client.socket.settimeout(0.5)
    block = memoryview(request * (PIPELINED_BYTES // len(request)))
    sent = 0
    try:
        while sent < len(block):
            sent += client.socket.send(block[sent : sent + 65536])
    except (TimeoutError, ConnectionError):
        pass
    return sent


def test_client_that_never_reads_costs_no_memory(server: Server) -> None:
    """30 MB of pipelined events whose answers nobody reads: the server stops reading them."""
    event = b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * 10_000)
    assert_serves(server)
    before = server.memory_bytes()
    with connected(server.port) as client:
        sent = flood(client, keyed(server, post(body=event)))
        grown = server.memory_bytes() - before
        assert_serves(server)
    assert sent < PIPELINED_BYTES
    assert grown < MEMORY_GROWTH_MAX


def test_client_that_never_reads_is_closed_after_the_idle_timeout(http_server: Server) -> None:
    """It can't keep its connection and its unread answers for ever."""
    event = b'{"event_name":"a","event_params":{"b":"%b"}}' % (b"x" * 10_000)
    with connected(http_server.port) as client:
        flood(client, keyed(http_server, post(body=event)))
        wait_for(lambda: _is_gone(client))
    assert_serves(http_server)


def _is_gone(client: RawClient) -> bool:
    client.socket.settimeout(0.05)
    try:
        client.socket.send(b"x")
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def test_connections_past_the_limit_are_closed_and_the_others_served(
    database_url: str, start_server: StartServer
) -> None:
    """The surplus is closed without an answer; room that becomes free is used again."""
    server = start_server(database_url, limits__connections_max=CONNECTIONS_MAX)
    with ExitStack() as stack:
        kept = [stack.enter_context(connected(server.port)) for _ in range(CONNECTIONS_MAX)]
        for client in kept:
            assert client.ask(HEALTH).status == 200
        for _ in range(5):
            with connected(server.port) as surplus:
                assert surplus.is_closed_by_server()
        for client in kept:
            assert_success(client.ask(keyed(server, post())))
        kept.pop().close()
        wait_for(lambda: _is_served(server))


def _is_served(server: Server) -> bool:
    with connected(server.port) as client:
        try:
            return client.ask(HEALTH).status == 200
        except (AssertionError, ConnectionError, TimeoutError):
            return False
