"""The fast lane's connections, where they differ from aiohttp's: cached heads, and hand-overs."""

import pytest

from tests.http.cases import EVENT, KEY, chunked, post
from tests.http.checks import assert_refusal, assert_success, query
from tests.support.raw import RawClient, connected
from tests.support.server import Server, wait_for

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
        with connected(server.port) as other:
            wait_for(lambda: other.ask(whole).status == 401, timeout_s=1.0)
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
def test_request_that_comes_slowly_is_answered_all_the_same(server: Server, cut: int) -> None:
    """Handed over in the middle of its head or its body, it loses no byte."""
    whole = request_of(server)
    with connected(server.port) as client:
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


def test_hand_over_to_nobody_is_harmless(server: Server) -> None:
    """Clients that vanish right behind a request of any kind leave the server as it was."""
    for request in (post(), chunked(EVENT), post(body=b"{"), post()[:50]):
        for _ in range(25):
            client = RawClient(server.port)
            client.send(request_of(server, request))
            client.reset()
    answer = server.post({"event_name": "after"})
    assert answer.json()["data"][0]["event_name"] == "after"
    assert "Traceback" not in server.logs()
