"""The operators' own address: the metrics are there and nowhere else, whatever clients do."""

import socket

import pytest

from tests.conftest import StartServer
from tests.http.cases import HOST, KEY, join, post
from tests.http.checks import assert_refusal, locked_events
from tests.support.command import complaint, run
from tests.support.raw import Answer, connected
from tests.support.server import Server, wait_for


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def get(port: int, path: str) -> Answer:
    """Get a path."""
    with connected(port) as client:
        return client.ask(join(b"GET %b HTTP/1.1" % path.encode(), HOST))


@pytest.fixture
def monitor_port() -> int:
    """Where the operators' address is."""
    return free_port()


@pytest.fixture
def server(database_url: str, start_server: StartServer, monitor_port: int) -> Server:
    """A server with few connections for clients."""
    return start_server(database_url, metrics__port=monitor_port, limits__connections_max=2)


def test_metrics_are_on_their_own_address_and_nowhere_else(
    server: Server, monitor_port: int
) -> None:
    """In any spelling; load balancers find `/readyz` and `/healthz` at both, events at one."""
    assert get(monitor_port, "/metrics").body.startswith(b"# HELP nonito_")
    for path in ("/metrics", "/m%65trics", "//metrics", "http://test/metrics", "/metrics?a"):
        assert_refusal(get(server.port, path), 404, "not_found")
    for port in (server.port, monitor_port):
        assert get(port, "/readyz").status == get(port, "/healthz").status == 200
    assert "/metrics" not in server.get("/").text
    assert "/metrics" not in server.get("/openapi.json").json()["paths"]
    with connected(monitor_port) as client:
        request = post().replace(KEY, server.key.encode())
        assert_refusal(client.ask(request), 404, "not_found")


def test_scrape_gets_in_when_clients_have_taken_all_connections(
    server: Server, monitor_port: int
) -> None:
    """And tells of it; the scrape itself is none of theirs."""
    with connected(server.port), connected(server.port), connected(server.port) as third:
        assert third.socket.recv(1) == b""
        scrape = get(monitor_port, "/metrics").body
    assert b"\nnonito_connections_open 2.0\n" in scrape
    assert b"\nnonito_connections_refused_total 1.0\n" in scrape
    assert b"\nnonito_requests_in_flight 0.0\n" in scrape


def test_its_requests_are_counted_and_its_connections_swept(
    database_url: str, start_server: StartServer, monitor_port: int
) -> None:
    """As everywhere: a head that does not come is a 408."""
    start_server(database_url, metrics__port=monitor_port, limits__head_timeout_s=0.5)
    with connected(monitor_port) as slow:
        slow.send(b"GET /metr")
        assert_refusal(slow.read(), 408, "request_timeout")
    assert get(monitor_port, "/readyz").status == 200
    scrape = get(monitor_port, "/metrics").body
    assert b'\nnonito_requests_total{route="other",status="408"} 1.0\n' in scrape
    assert b'\nnonito_requests_total{route="/readyz",status="200"} 1.0\n' in scrape


def test_it_says_not_ready_and_counts_while_the_server_stops(
    server: Server, monitor_port: int, database_url: str
) -> None:
    """Until everything else has ended: what is on its way is seen until it is answered."""
    with connected(monitor_port) as watcher, connected(server.port) as client:
        with locked_events(database_url):
            client.send(post().replace(KEY, server.key.encode()))
            wait_for(lambda: b"\nnonito_queue_events 1.0\n" in get(monitor_port, "/metrics").body)
            server.process.terminate()
            wait_for(lambda: watcher.ask(join(b"GET /readyz HTTP/1.1", HOST)).status == 503)
            scrape = watcher.ask(join(b"GET /metrics HTTP/1.1", HOST))
            assert b"\nnonito_queue_events 1.0\n" in scrape.body
        assert client.read().status in {200, 202}
    assert server.process.wait(30) == 0


def test_address_that_is_taken_is_one_line() -> None:
    """Before anything else is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint(
            run(
                *("--database-url", "postgresql://nobody@127.0.0.1:1/none", "serve", "--port", "0"),
                settings={"metrics.port": port, "spool.enabled": "false"},
            )
        )
    assert f"can't listen on 127.0.0.1:{port}: Address already in use; set metrics." in said
