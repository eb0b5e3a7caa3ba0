"""A start that nobody notices: the port takes nobody in before the server can serve."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, make_key
from tests.http.cases import KEY, post
from tests.http.checks import assert_success
from tests.support.postgres import pause, resume
from tests.support.proxies import free_port
from tests.support.raw import HOST, RawClient
from tests.support.server import COMMAND, ROOT, environment, kill_server, wait_for


def bound(port: int) -> socket.socket:
    """Return a socket with this address, which does not listen yet."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, port))
    return found


def is_bound(port: int) -> bool:
    """Whether anybody has the address, and be it without listening."""
    with socket.socket() as other:
        try:
            other.bind((HOST, port))
        except OSError:
            return True
    return False


@contextmanager
def starting(url: str, port: int, spool: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a server whose Postgres hangs: it has its port, and gets no further."""
    command = [*COMMAND, "--database-url", url, "serve", "--port", str(port)]
    settings = {"spool.path": spool, "database.connect_timeout_s": 1}
    with subprocess.Popen(
        command,
        cwd=ROOT / "tests",
        env=environment(settings) | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: is_bound(port))
            yield process
        finally:
            kill_server(process)


def test_who_comes_while_the_server_starts_is_refused_and_the_first_one_taken_in_is_served(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """A proxy goes elsewhere at once; no connection waits for an answer that is not to come."""
    url, port = own_cluster.url(OWN_DATABASE), free_port()
    request = post().replace(KEY, make_key(url).encode())
    pause(own_cluster)
    with starting(url, port, tmp_path / "spool"):
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                RawClient(port)
        resume(own_cluster)
        with closing(first_connection(port)) as client:
            assert_success(client.ask(request))


def first_connection(port: int) -> RawClient:
    """Return the first connection that is taken in."""
    found: list[RawClient] = []

    def connect() -> bool:
        try:
            found.append(RawClient(port))
        except ConnectionRefusedError:
            return False
        return True

    wait_for(connect, timeout_s=30)
    return found[0]


def test_port_that_another_server_takes_in_the_meantime_stops_the_start_with_one_line(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    """Both had the address; only one can listen."""
    url, port = own_cluster.url(OWN_DATABASE), free_port()
    pause(own_cluster)
    with starting(url, port, tmp_path / "spool") as process, closing(bound(port)) as other:
        other.listen()
        resume(own_cluster)
        assert process.wait(60) == 1
        assert process.stderr is not None
        errors = process.stderr.read()
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"nonito: can't listen on {HOST}:{port}: ")
