"""Several workers: they share the load, and whatever becomes of one costs the others nothing."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.conftest import StartServer, make_key
from tests.support.load import History, drive
from tests.support.postgres import fetch
from tests.support.raw import connected
from tests.support.server import (
    COMMAND,
    ROOT,
    Server,
    books_balance,
    environment,
    running_server,
    wait_for,
    workers_of,
)

pytestmark = pytest.mark.slow

CONNECTIONS = 16


def pids(server: Server) -> list[int]:
    """Return the processes that serve now."""
    return [each.pid for each in server.workers()]


def has_gone(server: Server, pid: int) -> bool:
    """Whether a process serves no more."""
    return pid not in pids(server)


def has_replaced(server: Server, pid: int, count: int = 2) -> bool:
    """Whether another process is in the place of one that is gone."""
    now = pids(server)
    return pid not in now and len(now) == count


async def under_load(server: Server, work: Callable[[], None]) -> History:
    """Post events all the while that work is done in a thread."""
    stop = asyncio.Event()
    driving = asyncio.create_task(drive(server, CONNECTIONS, stop))
    try:
        await asyncio.sleep(0.2)
        await asyncio.to_thread(work)
        await asyncio.sleep(0.2)
    finally:
        stop.set()
        history = await driving
    return history


async def stored(url: str) -> dict[str, int]:
    """Return what each event that is stored carried, by its id."""
    rows = await fetch(url, "SELECT id::text, (event_params->>'n')::int AS n FROM events")
    return {row["id"]: row["n"] for row in rows}


async def test_killed_workers_are_replaced_and_nothing_is_lost(
    database_url: str, start_server: StartServer
) -> None:
    """Only requests that were in flight there have no answer."""
    server = await asyncio.to_thread(start_server, database_url, server__workers=2)
    kills = 6

    def kill() -> None:
        for number in range(kills):
            pid = pids(server)[number % 2]
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: has_replaced(server, pid))
            wait_for(lambda: server.metrics()["nonito_postgres_up"] == 1)

    history = await under_load(server, kill)
    assert set(history.statuses) <= {200, 202}
    assert history.broken <= kills * CONNECTIONS
    wait_for(lambda: server.metrics()["nonito_spool_events"] == 0, 20)
    rows = await stored(database_url)
    assert history.sent.items() <= rows.items()
    assert len(rows) <= len(history.sent) + history.broken
    assert books_balance(server.metrics()) == 0
    restarts = [server.metrics()[f"nonito_worker_restarts_total{{{each}}}"] for each in (0, 1)]
    assert sum(restarts) == kills
    assert await asyncio.to_thread(server.stop) == 0


async def test_hangup_replaces_all_workers_and_no_request_fails(
    database_url: str, start_server: StartServer
) -> None:
    """One after the other, each ready before its predecessor stops to accept."""
    server = await asyncio.to_thread(start_server, database_url, server__workers=2)
    times = 3

    def hang_up() -> None:
        for _ in range(times):
            before, told = pids(server), server.logs().count("read anew")
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda told=told: server.logs().count("read anew") > told, 30)
            wait_for(lambda before=before: not {*before} & {*pids(server)}, 30)

    history = await under_load(server, hang_up)
    assert history.broken == 0
    assert set(history.statuses) == {200}
    assert await stored(database_url) == history.sent
    assert books_balance(server.metrics()) == 0
    # Of a worker that does not answer the scrape what it published last.
    committed = "nonito_events_committed_total"
    wait_for(lambda: server.metrics()[committed] == len(history.sent))


def test_killed_supervisor_leaves_nobody_serving(
    database_url: str, start_server: StartServer
) -> None:
    """And its successor has the address at once."""
    key = make_key(database_url)
    server = start_server(database_url, key=key, server__workers=2)
    for number in range(20):
        assert server.post({"event_name": "x", "event_params": {"n": number}}).status_code == 200
    workers = server.workers()
    os.kill(server.process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    with pytest.raises(ConnectionRefusedError), connected(server.port):
        pass
    assert len(asyncio.run(stored(database_url))) == 20


def test_worker_that_starts_yet_ends_with_its_supervisor(tmp_path: Path) -> None:
    """It would keep the address for as long as it waits for Postgres."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none?sslmode=disable"
        command = (*COMMAND, "--database-url", url, "serve", "--port", "0", "--workers", "1")
        settings = environment({"spool.path": tmp_path / "spool"})
        with subprocess.Popen(command, cwd=tmp_path, env=settings) as supervisor:
            asked, _ = silent.accept()  # by a worker, which waits for what comes of it
            workers = workers_of(supervisor.pid)
            supervisor.kill()
        with asked:
            _, alive = psutil.wait_procs(workers, timeout=10)
        for each in alive:
            each.kill()
        assert (len(workers), alive) == (1, [])


def test_worker_that_does_nothing_any_more_is_replaced(
    database_url: str, start_server: StartServer
) -> None:
    """Its stacks are in the log."""
    server = start_server(database_url, server__workers=2)
    stuck = pids(server)[1]
    os.kill(stuck, signal.SIGSTOP)
    wait_for(lambda: has_replaced(server, stuck), 30)
    assert "a worker is stuck" in server.logs()
    assert server.post({"event_name": "x"}).status_code == 200


BLOCKS = """
import signal, time
def stand_still(*_):
    time.sleep(60)
signal.signal(signal.SIGUSR2, stand_still)
"""


def test_log_says_where_a_worker_is_stuck(database_url: str, tmp_path: Path) -> None:
    """In which line of which function, of each thread."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKS)
    command = ("env", f"PYTHONPATH={tmp_path}:{ROOT}", sys.executable, "-m", "ingest")
    arguments = ("--database-url", database_url)
    with running_server(arguments, make_key(database_url), command=command) as server:
        stuck = server.worker_pid
        os.kill(stuck, signal.SIGUSR2)
        wait_for(lambda: has_replaced(server, stuck, count=1), 30)
        assert "in stand_still" in server.logs()
        assert server.post({"event_name": "x"}).status_code == 200


async def test_worker_that_is_told_to_end_is_replaced_and_breaks_nothing(
    database_url: str, start_server: StartServer
) -> None:
    """`kill PID` of each of them: who is connected to it gets an answer, and so does who comes."""
    server = await asyncio.to_thread(start_server, database_url, server__workers=2)

    def end_each() -> None:
        for number in range(2):
            pid = pids(server)[number]
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda pid=pid: has_replaced(server, pid), 30)

    history = await under_load(server, end_each)
    assert history.broken == 0
    assert set(history.statuses) == {200}
    assert await stored(database_url) == history.sent
    assert "did not stop in good order" not in server.logs()


def test_worker_that_ends_again_and_again_is_waited_for(
    database_url: str, start_server: StartServer
) -> None:
    """Longer each time; the other one serves meanwhile."""
    server = start_server(database_url, server__workers=2)
    for _ in range(4):
        wait_for(lambda: len(pids(server)) == 2, 30)
        killed = pids(server)[1]
        os.kill(killed, signal.SIGKILL)
        wait_for(partial(has_gone, server, killed))
        assert server.post({"event_name": "x"}).status_code == 200
    wait_for(lambda: server.logs().count('"again_s"') == 4)
    pauses = re.findall(r'"again_s": ([0-9.]+)', server.logs())
    assert [*map(float, pauses)] == [0.0, 0.2, 0.4, 0.8]


def test_successor_that_dies_is_replaced_while_its_predecessor_still_drains(
    database_url: str, start_server: StartServer
) -> None:
    """Nobody waits for the old one, which has somebody connected."""
    server = start_server(database_url, server__drain_s=600)
    with connected(server.port) as client:
        assert client.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status == 200
        first = server.worker_pid
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "read anew" in server.logs(), 30)
        (second,) = {*pids(server)} - {first}
        os.kill(second, signal.SIGKILL)
        wait_for(lambda: len({*pids(server)} - {first, second}) == 1, 30)
        assert first in pids(server)
        assert server.post({"event_name": "x"}).status_code == 200


def test_what_takes_a_restart_is_said_at_a_hangup(database_url: str, tmp_path: Path) -> None:
    """And left as it is; the rest is done."""
    file = tmp_path / "config.toml"
    file.write_text("[server]\nport = 0\n")
    arguments = ("--config", str(file), "--database-url", database_url)
    with running_server(arguments, make_key(database_url)) as server:
        file.write_text("[server]\nport = 0\n[metrics]\nport = 1\n[log]\nrequests = 100\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "read anew" in server.logs(), 30)
        assert "metrics.port" in server.logs()

        def is_logged() -> bool:  # the first ones may yet reach who was told to go
            assert server.post({"event_name": "x"}).status_code == 200
            return '"message": "request"' in server.logs()

        wait_for(is_logged)


def test_connections_are_spread(database_url: str, start_server: StartServer) -> None:
    """Evenly enough, though the kernel decides."""
    server = start_server(database_url, server__workers=2)
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        wait_for(lambda: server.metrics()["nonito_connections_open"] >= 200)
        metrics = server.metrics()
        shares = [metrics[f"nonito_worker_connections_open{{{each}}}"] for each in (0, 1)]
        assert min(shares) > 60
        assert sum(shares) == metrics["nonito_connections_open"]
