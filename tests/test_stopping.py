"""A stop that nobody notices: first said, then done, and everybody who was heard is answered."""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.http.cases import EVENT, HOST, KEY, chunked, join, post
from tests.http.checks import assert_refusal, assert_success, query
from tests.support.proxies import free_port
from tests.support.raw import Answer, RawClient, connected
from tests.support.server import LANES, Server, wait_for

pytestmark = pytest.mark.slow

IN_BOTH_LANES = pytest.mark.parametrize("fast_lane", LANES)
NEVER_S = 600.0
CONNECTIONS = 100
READY = join(b"GET /readyz HTTP/1.1", HOST)
BATCH = post(line=b"POST /events HTTP/1.1", body=b"[%b,%b]" % (EVENT, EVENT))
SERVED: list[tuple[bytes, int]] = [
    (post(), 200),
    (chunked(EVENT), 200),
    (BATCH, 200),
    (post(body=b"{}"), 400),
    (join(b"GET /healthz HTTP/1.1", HOST), 200),
    (join(b"GET /none HTTP/1.1", HOST), 404),
]
HALF_SENT = [
    post()[:1],
    post()[:10],
    post().partition(b"\r\n\r\n")[0],
    post().removesuffix(EVENT),
    post()[:-1],
    chunked(EVENT[:5], end=b""),
    chunked(end=b"")[:-2],
    BATCH[:-1],
    b"GET /healthz HTTP/1.1\r\n",
]

Ask = Callable[[RawClient, bytes], Answer]


def keyed(server: Server, request: bytes) -> bytes:
    """Put the server's key into a request."""
    return request.replace(KEY, server.key.encode())


def is_said_to_stop(server: Server) -> bool:
    """Whether a new connection is told that the server is not ready."""
    with connected(server.port) as client:
        return client.ask(READY).status == 503


def accepts(server: Server) -> bool:
    """Whether anybody listens."""
    try:
        with connected(server.port):
            return True
    except ConnectionRefusedError:
        return False


@IN_BOTH_LANES
def test_draining_server_says_so_and_serves_as_before(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """On new connections and on those that were open: each is served once more, and closed."""
    server = start_server(database_url, server__drain_s=NEVER_S, server__fast_lane=fast_lane)
    with ExitStack() as stack:
        used, unused = (
            [stack.enter_context(connected(server.port)) for _ in SERVED] for _ in range(2)
        )
        for client in used:
            assert_success(client.ask(keyed(server, post())))
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_said_to_stop(server))
        assert used[0].is_silent(0.5)
        new = [stack.enter_context(connected(server.port)) for _ in SERVED]
        for clients in (used, unused, new):
            for client, (request, status) in zip(clients, SERVED, strict=True):
                answer = client.ask(keyed(server, request))
                assert (answer.status, answer.says_close) == (status, True)
                assert client.is_closed_by_server()
        with connected(server.port) as client:
            message = assert_refusal(client.ask(READY), 503, "not_ready")
            assert "stopping" in message
        with connected(server.port) as client:
            probed = client.ask(join(b"OPTIONS / HTTP/1.0"))
            assert_refusal(probed, 503, "not_ready")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    (stored,) = query(database_url, "SELECT count(*) FROM events")
    assert stored["count"] == len(SERVED) + 3 * 4


def test_address_of_the_metrics_says_so_too(database_url: str, start_server: StartServer) -> None:
    """An orchestrator that asks there sees the drain, and the last scrapes are answered."""
    port = free_port()
    metrics: dict[str, Any] = {"metrics__host": "127.0.0.1", "metrics__port": port}
    server = start_server(database_url, server__drain_s=NEVER_S, **metrics)
    with connected(port) as client:
        assert client.ask(READY).status == 200
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_said_to_stop(server))
    with connected(port) as client:
        assert_refusal(client.ask(READY), 503, "not_ready")
    with connected(port) as client:
        assert client.ask(join(b"GET /metrics HTTP/1.1", HOST)).status == 200
    assert server.stop() == 0


@IN_BOTH_LANES
def test_client_that_waits_through_the_drain_is_answered(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """A request that began before the end of the drain, and ends behind it, is served."""
    server = start_server(database_url, server__drain_s=NEVER_S, server__fast_lane=fast_lane)
    whole = keyed(server, post())
    with connected(server.port) as before, connected(server.port) as within:
        before.send(whole[:-1])
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_said_to_stop(server))
        within.send(whole[:20])
        server.process.send_signal(signal.SIGINT)
        wait_for(lambda: not accepts(server))
        before.send(whole[-1:])
        within.send(whole[20:])
        for client in (before, within):
            answer = client.read()
            assert_success(answer)
            assert answer.says_close
            assert client.is_closed_by_server()
    assert server.process.wait(30) == 0


def test_drain_ends_by_itself(database_url: str, start_server: StartServer) -> None:
    """And the server with it."""
    server = start_server(database_url, server__drain_s=0.5)
    assert server.stop() == 0
    assert "draining" in server.logs()


def test_server_without_a_drain_stops_at_once(server: Server) -> None:
    """That is the default: one signal is enough."""
    with connected(server.port) as client:
        assert client.ask(READY).status == 200
        assert server.stop() == 0
        assert client.is_closed_by_server()
    assert "draining" not in server.logs()


@IN_BOTH_LANES
def test_half_sent_request_gets_its_408_and_does_not_hold_up_the_stop(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """Whatever part of it is missing, and however long its own time-out is."""
    server = start_server(
        database_url,
        server__fast_lane=fast_lane,
        server__shutdown_timeout_s=NEVER_S,
        limits__head_timeout_s=NEVER_S,
        limits__body_timeout_s=NEVER_S,
    )
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in HALF_SENT]
        used = stack.enter_context(connected(server.port))
        assert used.ask(READY).status == 200
        clients.append(used)
        for client, beginning in zip(clients, [*HALF_SENT, post()[:10]], strict=True):
            client.send(keyed(server, beginning))
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            answer = client.read()
            assert_refusal(answer, 408, "request_timeout")
            assert answer.says_close
            assert client.is_closed_by_server()
    assert server.process.wait(30) == 0


def test_body_that_nobody_wants_does_not_hold_up_the_stop(server: Server) -> None:
    """Its request is answered, and the client goes on sending, or does not."""
    begun = keyed(server, post(length=b"Content-Length: 2000000"))
    with connected(server.port) as client:
        assert client.ask(begun).status == 413
        server.process.send_signal(signal.SIGTERM)
        assert client.is_closed_by_server()
    assert server.process.wait(10) == 0


@IN_BOTH_LANES
def test_who_has_connected_before_the_stop_is_served(
    database_url: str, start_server: StartServer, fast_lane: str
) -> None:
    """Though nobody has accepted the connection yet: closing the socket would reset it."""
    server = start_server(database_url, server__fast_lane=fast_lane)
    request = keyed(server, post())
    server.signal_all(signal.SIGSTOP)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(CONNECTIONS)]
        for client in clients[: CONNECTIONS // 2]:
            client.send(request)
        server.process.send_signal(signal.SIGTERM)
        server.signal_all(signal.SIGCONT)
        for client in clients[CONNECTIONS // 2 :]:
            client.send(request)
        for client in clients:
            assert_success(client.read())  # some before the worker has heard of the stop
    assert server.process.wait(30) == 0
    (stored,) = query(database_url, "SELECT count(*) FROM events")
    assert stored["count"] == CONNECTIONS
