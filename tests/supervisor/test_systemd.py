"""Sockets that systemd passes on, and what it is told (with its variables, and real processes)."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from ingest.supervisor import systemd
from ingest.supervisor.sd_notify import Notifier
from tests.supervisor.processes import HOST
from tests.support.postgres import passable_directory
from tests.support.server import ROOT

PASSED = """
import json, os, sys
descriptors = [int(each) for each in sys.argv[2].split(",")]
kept = [os.dup(each) for each in descriptors]  # where none of the new ones comes to lie
for number, each in enumerate(kept, 3):
    os.dup2(each, number)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[3]))
os.environ["LISTEN_FDS"] = str(len(kept))
from pathlib import Path
from ingest import config
from ingest.errors import StartupError
from ingest.supervisor.sockets import bind
settings = config.load(Path("/dev/null"), {}, {"server.port": 0})
try:
    made = bind(settings, int(sys.argv[1]))
except StartupError as error:
    sys.exit(f"refused: {error}")
print(json.dumps({"of": [made.of(worker) for worker in range(int(sys.argv[1]))],
    "addresses": made.addresses, "lent": made.are_lent, "monitor": made.monitor,
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
    "leaks": [each for each in made.of(0) if os.get_inheritable(each)]}))
"""
"""Passes descriptors on to itself, as systemd does, and says what becomes of them."""


def passed(
    sockets: list[socket.socket], workers: int, names: str = "", *, other_pid: int = 0
) -> subprocess.CompletedProcess[str]:
    """Return what a process of so many workers makes of sockets."""
    descriptors = [each.fileno() for each in sockets]
    return subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c", PASSED),
            *(str(workers), ",".join(map(str, descriptors)), str(other_pid)),
        ],
        pass_fds=descriptors,
        env={"PYTHONPATH": str(ROOT), "LISTEN_FDNAMES": names},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    """Three sockets of one port and one of a path, which all listen; and another port."""
    with ExitStack() as stack, passable_directory() as directory:
        found: list[socket.socket] = []
        for _ in range(3):
            port = found[0].getsockname()[1] if found else 0
            found.append(stack.enter_context(socket.create_server((HOST, port), reuse_port=True)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(directory / "x"))
        unix.listen()
        other = stack.enter_context(socket.create_server((HOST, 0)))
        yield [*found, unix, other]


def told(ended: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """Return what it said."""
    assert ended.returncode == 0, ended.stderr
    found: dict[str, object] = json.loads(ended.stdout)
    return found


def test_one_socket_is_shared_by_all_workers(listening: list[socket.socket]) -> None:
    """And nobody else finds it, nor inherits it unasked; nothing is bound beside it."""
    one, unix = listening[0], listening[3]
    said = told(passed([one, unix], 3))
    assert said["of"] == [[3, 4]] * 3
    host, port = one.getsockname()
    assert said["addresses"] == [f"http://{host}:{port}", f"unix:{unix.getsockname()}"]
    assert (said["lent"], said["monitor"]) == (True, None)
    assert said["left"] == said["leaks"] == []


@pytest.mark.parametrize(
    ("workers", "of"),
    [(1, [[3, 4, 5, 6]]), (2, [[3, 5, 6], [4, 6]]), (4, [[3, 6], [4, 6], [5, 6], [3, 6]])],
)
def test_several_of_a_port_are_shared_out_and_none_is_forgotten(
    listening: list[socket.socket], workers: int, of: list[list[int]]
) -> None:
    """Connections come to each of them."""
    said = told(passed(listening[:4], workers))
    assert said["of"] == of
    assert len(said["addresses"]) == 2  # type: ignore[arg-type]


def test_socket_of_that_name_is_the_metrics(listening: list[socket.socket]) -> None:
    """The others are for events."""
    said = told(passed([listening[4], listening[0]], 2, "metrics:nonito.socket"))
    assert (said["of"], said["monitor"]) == ([[4], [4]], 3)
    only = told(passed([listening[4]], 2, "metrics"))
    assert (only["lent"], only["monitor"]) == (False, 3)
    assert str(only["addresses"]).startswith("['http://127.0.0.1:")


def test_what_was_passed_to_another_process_is_not_ours(listening: list[socket.socket]) -> None:
    """A child inherits the variables."""
    said = told(passed(listening[:1], 1, other_pid=1))
    assert said["lent"] is False
    assert said["left"] == []


def test_descriptor_that_is_no_listening_socket_is_one_line(listening: list[socket.socket]) -> None:
    """Such as a connection (`Accept=yes`), or datagrams."""
    client = socket.create_connection(listening[0].getsockname(), 10)
    with client, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for each in (client, datagrams):
            ended = passed([listening[0], each], 1)
            assert ended.returncode == 1
            assert ended.stderr.startswith("refused: descriptor 4 from systemd is no listening ")


class Manager:
    """Systemd's end: receives what is said."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.settimeout(10)
        self.environment = {"NOTIFY_SOCKET": address}

    def hear(self) -> list[str]:
        """Return the lines of one datagram."""
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    """One that is told."""
    with passable_directory() as directory:
        abstract = f"@nonito-test-{os.getpid()}-{time.monotonic_ns()}"
        found = Manager(abstract if request.param == "abstract" else str(directory / "notify"))
        with closing(found.socket):
            yield found


def test_systemd_is_told_how_the_server_is(manager: Manager) -> None:
    """Ready, reloading since when, stopping, and words; and children are not told whom to tell."""
    environment = manager.environment
    notifier = Notifier(environment)
    assert environment == {}
    notifier.ready("2 workers\nserve")
    assert manager.hear() == ["READY=1", "STATUS=2 workers serve"]
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    first, since = manager.hear()
    assert first == "RELOADING=1"
    assert int(since.removeprefix("MONOTONIC_USEC=")) >= before_us
    notifier.ready("x" * 1000)
    assert manager.hear() == ["READY=1", "STATUS=" + "x" * 200]
    notifier.stopping()
    assert manager.hear() == ["STOPPING=1"]
    notifier.watchdog()  # which nobody waits for
    notifier.ready()
    assert manager.hear() == ["READY=1"]
    notifier.close()
    notifier.ready()


async def test_watchdog_is_told_twice_in_the_time_that_it_waits(manager: Manager) -> None:
    """If it is this process that it waits for."""
    wanted = {"WATCHDOG_USEC": "200000"}
    notifier = Notifier(manager.environment | wanted | {"WATCHDOG_PID": str(os.getpid())})
    assert notifier.watchdog_interval_s == 0.1
    running = asyncio.create_task(notifier.run_watchdog())
    for _ in range(3):
        assert await asyncio.to_thread(manager.hear) == ["WATCHDOG=1"]
    running.cancel()
    notifier.close()
    other = Notifier(manager.environment | wanted | {"WATCHDOG_PID": "1"})
    assert other.watchdog_interval_s == 0
    other.close()


@pytest.mark.parametrize(
    "address", ["", "relative", "/nowhere/at/all", "@", "/" + "x" * 200, "@a\0"]
)
def test_nobody_to_tell_is_no_failure(address: str) -> None:
    """Whatever the variable holds."""
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "x"})
    notifier.ready("a")
    notifier.watchdog()
    notifier.stopping()
    notifier.close()


def test_manager_that_hears_nothing_holds_nobody_up(manager: Manager) -> None:
    """Its buffer is full; then it is gone."""
    notifier = Notifier(manager.environment)
    for _ in range(2000):
        notifier.ready("x" * 200)
    assert manager.hear() == ["READY=1", "STATUS=" + "x" * 200]
    manager.socket.close()
    notifier.ready()
    notifier.close()


def test_share_gives_every_worker_something_and_leaves_nothing_out() -> None:
    """Whatever the numbers."""
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_server((HOST, 0), reuse_port=True))
        same = [first] + [
            stack.enter_context(socket.create_server(first.getsockname(), reuse_port=True))
            for _ in range(4)
        ]
        for count in range(1, 6):
            for workers in range(1, 9):
                shares = systemd.share(same[:count], workers)
                assert all(shares)
                assert {each for share in shares for each in share} == set(same[:count])
