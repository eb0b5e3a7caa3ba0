"""A server at several addresses: the same at each of them, also at a unix socket."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.conftest import make_key
from tests.http.cases import HOST, KEY, join, post
from tests.http.checks import assert_refusal, assert_success
from tests.support.command import Nonito, complaint, run_here, succeed
from tests.support.postgres import passable_directory
from tests.support.raw import RawClient
from tests.support.server import COMMAND, LANES, ROOT, Server, running_server, wait_for

pytestmark = pytest.mark.slow

nonito = pytest.fixture(run_here)


class UnixClient(RawClient):
    """One connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self._received = b""


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path."""
    with passable_directory() as directory:
        yield directory / "events.sock"


@pytest.fixture(params=LANES, ids=["fast lane", "aiohttp"])
def server(database_url: str, path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server at two ports and a path."""
    settings = {
        "server.listen": f"127.0.0.1:0, [::1]:0, unix:{path}",
        "server.fast_lane": request.param,
        "log.requests": 100,
    }
    key = make_key(database_url)
    with running_server(("--database-url", database_url), key, settings, port=None) as running:
        yield running


def test_event_is_taken_at_every_address_and_the_greeting_names_them(
    server: Server, path: Path
) -> None:
    """Also the page, the metrics and errors; and the log of requests has a line of each."""
    assert server.process.stdout is not None
    others = [server.process.stdout.readline().decode() for _ in range(2)]
    assert others[0].startswith("Listening on http://[::1]:")
    assert others[1] == f"Listening on unix:{path}\n"
    assert server.post({"event_name": "a"}).status_code == 200
    request = post().replace(KEY, server.key.encode())
    with closing(UnixClient(path)) as client:
        for _ in range(3):
            assert_success(client.ask(request))
        for route in (b"/", b"/metrics", b"/readyz", b"/openapi.json"):
            assert client.ask(join(b"GET " + route + b" HTTP/1.1", HOST)).status == 200
        assert_refusal(client.ask(join(b"GET /nowhere HTTP/1.1", HOST)), 404, "not_found")
    assert server.metrics()["nonito_events_committed_total"] == 4
    assert server.stop() == 0
    assert not path.exists()
    lines = [json.loads(line) for line in server.logs().splitlines()]
    assert not [line for line in lines if line["level"] in {"error", "critical", "warning"}]
    assert [line["status"] for line in lines if line.get("route") == "/event"] == [200] * 4


def test_slow_and_broken_clients_of_a_unix_socket_are_treated_as_all_others(
    server: Server, path: Path
) -> None:
    """Bytes that are no HTTP, a client that leaves, and one that takes nothing of its answers."""
    with closing(UnixClient(path)) as client:
        client.send(b"\x00\x01\r\n\r\n")
        assert_refusal(client.read(), 400, "bad_request")
    with closing(UnixClient(path)) as client:
        client.send(post()[:40])
    page = join(b"GET / HTTP/1.1", HOST)
    with closing(UnixClient(path)) as client:
        client.socket.setblocking(False)
        for _ in range(200):
            try:
                client.socket.send(page)
            except BlockingIOError:
                break
        wait_for(lambda: server.metrics()["nonito_connections_open"] >= 1)
        with closing(UnixClient(path)) as other:
            assert other.ask(page).status == 200
    assert server.stop() == 0


def test_health_asks_a_unix_socket(server: Server, path: Path, nonito: Nonito) -> None:
    """And says so if nobody answers there."""
    settings = {"server.listen": f"unix:{path}"}
    assert succeed(nonito("health", settings=settings)) == ""
    assert server.stop() == 0
    said = complaint(nonito("health", settings=settings))
    assert f"unix:{path} does not answer: No such file or directory" in said


def test_server_that_was_killed_is_followed_by_one_at_the_same_path(
    database_url: str, server: Server, path: Path
) -> None:
    """Its file is still there, as its workers had no time either."""
    supervisor = psutil.Process(server.process.pid)
    supervisor.suspend()
    for process in (*supervisor.children(recursive=True), supervisor):
        process.kill()
    server.process.wait()
    assert path.exists()
    settings = {"server.listen": f"127.0.0.1:0 unix:{path}"}
    arguments = ("--database-url", database_url)
    with (
        running_server(arguments, server.key, settings, port=None),
        closing(UnixClient(path)) as client,
    ):
        assert_success(client.ask(post().replace(KEY, server.key.encode())))


def test_curl_sends_an_event_to_a_unix_socket(server: Server, path: Path) -> None:
    """As README shows it."""
    ended = subprocess.run(
        [
            *("curl", "-sS", "--unix-socket", str(path), "-X", "POST", "http://localhost/event"),
            *("-H", "Content-Type: application/json", "-H", f"X-API-Key: {server.key}"),
            *("-d", '{"event_name": "page_view"}'),
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert json.loads(ended.stdout)["status"] == "success"


FAILING = """
import asyncio, os
from pathlib import Path
from ingest.observe import loop_lag

async def watch(*_):
    while not Path(os.environ["FAIL"]).exists():
        await asyncio.sleep(0.05)
    Path(os.environ["FAIL"]).unlink()
    raise RuntimeError("as a test wants it")

loop_lag.watch = watch
"""
"""Has a part of a worker fail when a file appears, once."""


def test_worker_of_which_a_part_fails_leaves_its_sockets_to_the_next_one(
    database_url: str, path: Path, tmp_path: Path
) -> None:
    """It ends by itself, in good order, but the server goes on."""
    (tmp_path / "sitecustomize.py").write_text(FAILING)
    fail, key = tmp_path / "fail", make_key(database_url)
    command = ("env", f"PYTHONPATH={tmp_path}:{ROOT}", f"FAIL={fail}", *COMMAND)
    settings = {"server.listen": f"127.0.0.1:0 unix:{path}"}
    arguments = ("--database-url", database_url)
    request = post().replace(KEY, key.encode())
    with running_server(arguments, key, settings, command=command, port=None) as server:
        fail.touch()
        wait_for(lambda: not fail.exists())
        wait_for(lambda: "another one is started" in server.logs(), 30)
        for client in (RawClient(server.port, timeout_s=30), UnixClient(path)):
            with closing(client):
                assert_success(client.ask(request))
        assert server.stop() == 0
