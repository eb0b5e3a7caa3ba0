"""What orchestrators and load balancers ask: /healthz and /readyz."""

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.http.cases import HOST, join
from tests.http.checks import assert_refusal
from tests.support.raw import connected
from tests.support.server import Server, wait_for

PROBES = {
    "/healthz": b'{"status":"ok"}',
    "/readyz": b'{"status":"ready","postgres":"up","spool_events":0}',
}


@pytest.mark.parametrize(("path", "body"), PROBES.items())
def test_probe_answers_without_a_key(shared_server: Server, path: str, body: bytes) -> None:
    """200 and a fixed body."""
    with connected(shared_server.port) as client:
        answer = client.ask(join(b"GET %b HTTP/1.1" % path.encode(), HOST))
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", [*PROBES, "/metrics"])
def test_head_has_the_headers_of_get_and_no_body(shared_server: Server, path: str) -> None:
    """And the connection serves on."""
    with connected(shared_server.port) as client:
        get = client.ask(join(b"GET %b HTTP/1.1" % path.encode(), HOST))
        client.send(join(b"HEAD %b HTTP/1.1" % path.encode(), HOST))
        head = client.read(has_body=False)
        assert (head.status, head.body) == (200, b"")
        assert head.headers.keys() == get.headers.keys()
        assert head.headers["content-type"] == get.headers["content-type"]
        assert int(head.headers["content-length"]) > 0
        assert client.ask(join(b"GET /healthz HTTP/1.1", HOST)).body == PROBES["/healthz"]


@pytest.mark.parametrize("path", [*PROBES, "/"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_options_is_a_probe_too(shared_server: Server, path: str, version: str) -> None:
    """204 without a body; haproxy asks `OPTIONS / HTTP/1.0` unless it is told otherwise."""
    with connected(shared_server.port) as client:
        answer = client.ask(join(f"OPTIONS {path} {version}".encode(), HOST))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_readiness_follows_postgres_and_health_does_not(
    own_cluster: Cluster, start_server: StartServer
) -> None:
    """503 `not_ready` while nothing durable is possible, ready again after it; always alive."""
    server = start_server(own_cluster.url(OWN_DATABASE), spool__enabled="false")
    ready = join(b"GET /readyz HTTP/1.1", HOST)
    with connected(server.port) as client:
        assert client.ask(ready).status == 200
        own_cluster.stop()
        wait_for(lambda: client.ask(ready).status == 503)
        message = assert_refusal(client.ask(ready), 503, "not_ready")
        assert "Postgres" in message
        for path in (b"/readyz", b"/"):
            probed = client.ask(join(b"OPTIONS %b HTTP/1.1" % path, HOST))
            assert_refusal(probed, 503, "not_ready")
        assert client.ask(join(b"GET /healthz HTTP/1.1", HOST)).status == 200
        assert server.metrics()["nonito_postgres_up"] == 0
        own_cluster.start()
        wait_for(lambda: client.ask(ready).status == 200)
        assert server.metrics()["nonito_postgres_up"] == 1
