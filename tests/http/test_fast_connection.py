"""The fast lane's connections, where they differ from aiohttp's: cached heads, and hand-overs."""

import signal
import time
from contextlib import suppress

import pytest

from tests.conftest import StartServer
from tests.http.cases import EVENT, KEY, chunked, post
from tests.http.checks import assert_refusal, assert_success, query
from tests.support.raw import RawClient, connected
from tests.support.server import LANES, Server, wait_for

HOLD_S = 3.0  # past which an incomplete request is aiohttp's


def request_of(server: Server, request: bytes | None = None) -> bytes:
    """Return a good request with the server's key, or another one."""
    return (request or post()).replace(KEY, server.key.encode())


def test_revoked_key_is_refused_on_an_open_connection_whose_head_was_cached(
    server: Server, database_url: str
) -> None:
    """Within a second, without a new connection and with the very same bytes."""
    with connected(server.port) as client:
        for _ in range(3):
            assert_success(client.ask(request_of(server)))
        query(database_url, "UPDATE api_keys SET revoked_at = now()")
        wait_for(lambda: client.ask(request_of(server)).status == 401, timeout_s=1.0)
        assert_refusal(client.ask(request_of(server)), 401, "invalid_api_key")


def test_key_that_expires_is_refused_on_an_open_connection_whose_head_was_cached(
    server: Server, database_url: str
) -> None:
    """By the clock, with a second or two for the sweep."""
    query(database_url, "UPDATE api_keys SET expires_at = now() + interval '1 second'")
    with connected(server.port) as client:
        assert_success(client.ask(request_of(server)))
        wait_for(lambda: client.ask(request_of(server)).status == 401, timeout_s=4.0)


def test_key_that_is_revoked_before_the_body_comes_stores_nothing(
    server: Server, database_url: str
) -> None:
    """The head was accepted, the event is not."""
    whole = request_of(server)
    with connected(server.port) as client:
        client.send(whole[: -len(EVENT)], pause_s=0.1)
        query(database_url, "UPDATE api_keys SET revoked_at = now()")
        bad = request_of(server, post(body=b"{}"))  # stores nothing while the key still works
        with connected(server.port) as other:
            wait_for(lambda: other.ask(bad).status == 401, timeout_s=1.0)
        client.send(EVENT)
        assert_refusal(client.read(), 401, "invalid_api_key")
    (row,) = query(database_url, "SELECT count(*) FROM events")
    assert row["count"] == 0


def test_connection_goes_on_after_a_request_that_is_not_plain(http_server: Server) -> None:
    """Plain, chunked, bad and plain again on one connection: each gets its own answer."""
    with connected(http_server.port) as client:
        for request, status in [
            (post(), 200),
            (chunked(EVENT), 200),
            (post(body=b"{}"), 400),
            (post(), 200),
        ]:
            assert client.ask(request_of(http_server, request)).status == status


@pytest.mark.parametrize("cut", [5, 60, -20, -1])
def test_request_that_comes_slowly_is_answered_all_the_same(
    shared_server: Server, cut: int
) -> None:
    """Handed over in the middle of its head or its body, it loses no byte."""
    whole = request_of(shared_server)
    with connected(shared_server.port) as client:
        client.send(whole[:cut], pause_s=HOLD_S)
        client.send(whole[cut:])
        assert_success(client.read())


def test_plain_requests_behind_each_other_are_answered_in_order_and_once(
    http_server: Server,
) -> None:
    """Pipelined in one write, with one that is not plain in the middle."""
    bodies = [b'{"event_name":"%d"}' % number for number in range(60)]
    requests = [post(body=body) for body in bodies]
    requests[30] = chunked(bodies[30])
    with connected(http_server.port) as client:
        client.send(request_of(http_server, b"".join(requests)))
        names = [assert_success(client.read())["event_name"] for _ in requests]
        assert client.is_silent(0.2)
    assert names == [str(number) for number in range(60)]


def test_idle_connection_is_closed(http_server: Server) -> None:
    """After `idle_timeout_s` (2 s here), whether it was used or not."""
    with connected(http_server.port) as used, connected(http_server.port) as unused:
        assert_success(used.ask(request_of(http_server)))
        assert used.is_closed_by_server()
        assert unused.is_closed_by_server()


def test_half_a_request_is_told_its_time_out_though_the_server_was_held_up(
    http_server: Server,
) -> None:
    """For longer than `idle_timeout_s`: it is no idle connection, which would just be closed."""
    with connected(http_server.port) as client:
        client.send(request_of(http_server)[:-1])
        assert client.is_silent(0.1)
        http_server.signal_all(signal.SIGSTOP)
        time.sleep(HOLD_S)
        http_server.signal_all(signal.SIGCONT)
        assert_refusal(client.read(), 408, "request_timeout")


def test_hand_over_to_nobody_is_harmless(shared_server: Server) -> None:
    """Clients that vanish right behind a request of any kind leave the server as it was."""
    for request in (post(), chunked(EVENT), post(body=b"{"), post()[:50]):
        for _ in range(25):
            client = RawClient(shared_server.port)
            client.send(request_of(shared_server, request))
            client.reset()
    answer = shared_server.post({"event_name": "after"})
    assert answer.json()["data"][0]["event_name"] == "after"
    assert "Traceback" not in shared_server.logs()


def test_bad_event_leaves_the_connection_in_the_fast_lane(http_server: Server) -> None:
    """Many of them, pipelined among good ones, are answered in order and disturb nobody."""
    good, bad = post(), post(body=b"{}")
    requests = [bad, good, bad, bad, good] * 40
    with connected(http_server.port) as client:
        client.send(request_of(http_server, b"".join(requests)))
        statuses = [client.read().status for _ in requests]
    assert statuses == [400, 200, 400, 400, 200] * 40


def test_head_that_makes_the_parser_fail_is_answered_like_any_malformed_one(
    http_server: Server,
) -> None:
    """Alone, and pipelined behind a good request; nothing of it is logged."""
    hostile = b"GET http://[v1.x]@ HTTP/1.1\r\nHost: a\r\n\r\n"
    with connected(http_server.port) as client:
        assert_refusal(client.ask(hostile), 400, "bad_request")
        assert client.is_closed_by_server()
    with connected(http_server.port) as client:
        client.send(request_of(http_server, post() + hostile))
        assert_success(client.read())
        assert_refusal(client.read(), 400, "bad_request")
    assert "Traceback" not in http_server.logs()


@pytest.mark.parametrize("lane", LANES)
def test_limit_of_the_body_holds_in_both_lanes(
    database_url: str, start_server: StartServer, lane: str
) -> None:
    """Also where it is smaller than what the fast lane takes."""
    server = start_server(database_url, server__fast_lane=lane, limits__body_bytes_max=1024)
    fits, exceeds = (b'{"event_name":"%b"}' % (b"n" * 8) + b" " * size for size in (900, 1100))
    with connected(server.port) as client:
        assert_success(client.ask(request_of(server, post(body=fits))))
        assert_refusal(client.ask(request_of(server, post(body=exceeds))), 413, "payload_too_large")


def test_endless_heads_leave_no_memory_behind(server: Server) -> None:
    """100 clients without a key send 1 MiB of header each and go away."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * (1 << 20)
    with connected(server.port) as client:
        assert_success(client.ask(request_of(server)))
    before = server.memory_bytes()
    for _ in range(100):
        with connected(server.port) as client, suppress(ConnectionError):
            client.send(head)  # refused before all of it was sent
    server.get("/healthz")
    assert server.memory_bytes() - before < 40 << 20


def test_bodies_that_never_end_are_bounded_together(
    database_url: str, start_server: StartServer
) -> None:
    """Past `limits.bodies_bytes_max` further ones are a 503, and the others go on."""
    server = start_server(database_url, limits__bodies_bytes_max=200_000)
    begun = request_of(server, post(length=b"Content-Length: 150000", body=b" " * 120_000))
    with connected(server.port) as first, connected(server.port) as second:
        first.send(begun, pause_s=0.3)
        second.send(begun)
        assert_refusal(second.read(), 503, "overloaded")
        first.send(b" " * (30_000 - len(EVENT)) + EVENT)
        assert_success(first.read())
    assert server.post({"event_name": "after"}).status_code == 200
