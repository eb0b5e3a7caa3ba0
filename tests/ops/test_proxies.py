"""Real proxies in front of two servers, which are restarted in turn: no client sees an error."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import make_key
from tests.http.cases import HOST, join
from tests.support.load import History, drive
from tests.support.postgres import fetch, passable_directory
from tests.support.proxies import (
    HAPROXY,
    NGINX,
    Proxy,
    free_port,
    haproxy,
    running_haproxy,
    running_nginx,
)
from tests.support.raw import connected
from tests.support.server import ROOT, Server, running_server

pytestmark = pytest.mark.slow

(DRAIN_S,) = re.findall(r"NONITO_SERVER_DRAIN_S=(\d+)", (ROOT / "Dockerfile").read_text("utf-8"))
REQUESTS = 10_000
CONNECTIONS = 8
FEW = 300
DOUBLED = "SELECT event_params->'n' FROM events GROUP BY 1 HAVING count(*) > 1"
HIDDEN = ["/metrics", "/m%65trics", "/metrics?a", "//metrics", "/./metrics", "/metrics/"]

USUAL = """
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
listen events
    bind 127.0.0.1:{port}
    http-request return status 200 if {{ path /up }} {{ nbsrv gt 0 }}
    option httpchk
    server nonito 127.0.0.1:{server} check inter 100ms fall 1 rise 1
"""

Running = Callable[[Sequence[int] | Path, str], AbstractContextManager[Proxy]]
PROXIES = pytest.mark.parametrize(
    "running",
    [
        pytest.param(
            running_nginx,
            marks=pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
            id="nginx",
        ),
        pytest.param(
            running_haproxy,
            marks=pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed"),
            id="haproxy",
        ),
    ],
)


class Restartable:
    """A server that has the same address after a restart."""

    def __init__(self, url: str, key: str) -> None:
        self._stack = ExitStack()
        self._url = url
        self._key = key
        self.port = free_port()
        self._server = self._start()

    def restart(self) -> None:
        """Stop it in good order, and start it anew."""
        assert self._server.stop() == 0
        self._stack.close()
        self._server = self._start()

    def kill(self) -> None:
        """End all of its processes at once; nobody starts it anew."""
        self._server.kill()

    def close(self) -> None:
        """End it."""
        self._stack.close()

    def _start(self) -> Server:
        arguments, settings = ("--database-url", self._url), {"server.drain_s": DRAIN_S}
        running = running_server(arguments, self._key, settings, port=self.port)
        return self._stack.enter_context(running)


@contextmanager
def two_servers(url: str, key: str) -> Iterator[list[Restartable]]:
    """Run two servers on one database."""
    servers: list[Restartable] = []
    try:
        for _ in range(2):
            servers.append(Restartable(url, key))  # noqa: PERF401 - one that started is ended
        yield servers
    finally:
        for server in servers:
            server.close()


@pytest.mark.timeout(300)  # two drains and 10,000 requests, on a busy machine
@PROXIES
async def test_restart_of_servers_in_turn_costs_no_client_an_answer(
    database_url: str, running: Running
) -> None:
    """10,000 requests and more: each gets its 200, and each 200 is one row."""
    key = await asyncio.to_thread(make_key, database_url)
    with ExitStack() as stack:
        servers = stack.enter_context(two_servers(database_url, key))
        proxy = stack.enter_context(running([server.port for server in servers], key))
        stop = asyncio.Event()
        load = asyncio.create_task(drive(proxy, CONNECTIONS, stop))
        await asyncio.sleep(1)
        for server in servers:
            await asyncio.to_thread(server.restart)
        while (  # noqa: ASYNC110 - nobody tells us when there are enough
            not load.done() and len(await stored(database_url)) < REQUESTS
        ):
            await asyncio.sleep(0.5)
        stop.set()
        history = await load
    assert (dict(history.statuses), history.broken) == ({200: len(history.sent)}, 0)
    assert len(history.sent) >= REQUESTS
    assert await stored(database_url) == history.sent.keys()


@pytest.mark.timeout(120)
@PROXIES
async def test_kill_of_a_server_costs_no_event_with_a_key_its_answer(
    database_url: str, running: Running
) -> None:
    """What it had is sent to the other one, answered with what is stored, and stored once."""
    history = await drive_through_a_kill(
        database_url, running, lambda number: {"Idempotency-Key": f"order-{number}"}
    )
    assert (dict(history.statuses), history.broken) == ({200: len(history.sent)}, 0)
    assert await stored(database_url) == history.sent.keys()


@pytest.mark.timeout(120)
@PROXIES
async def test_event_without_a_key_is_never_sent_to_another_server(
    database_url: str, running: Running
) -> None:
    """Whoever had one under way in a server that is killed hears that, and it is not doubled."""
    history = await drive_through_a_kill(database_url, running, lambda _: {})
    assert history.statuses.keys() <= {200, 502}
    assert await stored(database_url) >= history.sent.keys()
    assert not await fetch(database_url, DOUBLED)


async def drive_through_a_kill(
    url: str, running: Running, headers_of: Callable[[int], Mapping[str, str]]
) -> History:
    """Post events to two servers, of which one is killed in the middle and stays away."""
    key = await asyncio.to_thread(make_key, url)
    with ExitStack() as stack:
        servers = stack.enter_context(two_servers(url, key))
        proxy = stack.enter_context(running([server.port for server in servers], key))
        stop = asyncio.Event()
        load = asyncio.create_task(drive(proxy, CONNECTIONS, stop, headers_of=headers_of))
        await until_stored(url, FEW)
        await asyncio.to_thread(servers[0].kill)
        await until_stored(url, len(await stored(url)) + FEW)
        stop.set()
        return await load


async def until_stored(url: str, events: int) -> None:
    """Wait until there are so many."""
    while len(await stored(url)) < events:  # noqa: ASYNC110 - nobody tells us when there are
        await asyncio.sleep(0.1)


async def stored(url: str) -> set[str]:
    """Return the ids of all events."""
    return {row["id"] for row in await fetch(url, "SELECT id::text FROM events")}


@PROXIES
def test_metrics_are_not_for_clients(database_url: str, running: Running) -> None:
    """However they write the path; other paths are."""
    key = make_key(database_url)
    with ExitStack() as stack:
        settings = ("--database-url", database_url)
        server = stack.enter_context(running_server(settings, key))
        proxy = stack.enter_context(running([server.port, free_port()], key))
        for path in HIDDEN:
            with connected(proxy.port) as client:
                client.send(join(b"GET %b HTTP/1.1" % path.encode(), HOST, b"Connection: close"))
                answer = client.read()
            assert answer.status == 404
            assert b"nonito_" not in answer.body
        with connected(proxy.port) as client:
            assert client.ask(join(b"GET /readyz HTTP/1.1", HOST)).status == 200


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_usual_check_of_haproxy_finds_a_server_that_is_up(database_url: str) -> None:
    """`option httpchk` and no more: it asks OPTIONS, by HTTP/1.0, without a Host."""
    key, port = make_key(database_url), free_port()
    with ExitStack() as stack:
        settings = ("--database-url", database_url)
        server = stack.enter_context(running_server(settings, key))
        usual = USUAL.format(port=port, server=server.port)
        client = stack.enter_context(haproxy(usual, port, key))
        time.sleep(1)  # ten checks; at first it takes a server to be up
        assert requests.get(f"{client.url}/up", timeout=10).status_code == 200
        assert server.metrics()["nonito_requests_total{page,204}"] > 1


@PROXIES
def test_proxy_on_the_same_machine_finds_the_server_at_its_path(
    database_url: str, running: Running
) -> None:
    """With the line that is there for it."""
    key = make_key(database_url)
    with passable_directory() as directory:
        path = directory / "nonito.sock"
        settings = {"server.listen": f"127.0.0.1:0 unix:{path}", "server.unix_mode": "0666"}
        arguments = ("--database-url", database_url)
        with (
            running_server(arguments, key, settings, port=None) as server,
            running(path, key) as proxy,
        ):
            for _ in range(3):
                answer = requests.post(
                    f"{proxy.url}/event",
                    json={"event_name": "a"},
                    headers={"X-API-Key": key},
                    timeout=30,
                )
                assert answer.status_code == 200
            assert server.metrics()["nonito_events_committed_total"] == 3
