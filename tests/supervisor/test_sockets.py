"""The supervisor's sockets outlive who serves on them: nobody is reset, whoever dies or goes."""

import collections
import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from ingest.errors import StartupError
from ingest.supervisor.sockets import Sockets, bind
from tests.supervisor.processes import HOST, accepting, ask, connect, settings
from tests.support.postgres import passable_directory
from tests.support.server import ROOT, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def path() -> Iterator[str]:
    """A short path for a unix socket."""
    with passable_directory() as directory:
        yield str(directory / "events.sock")


@pytest.fixture(params=["TCP", "unix"])
def sockets(request: pytest.FixtureRequest, path: str) -> Iterator[Sockets]:
    """Sockets for one worker."""
    listen = "127.0.0.1:0" if request.param == "TCP" else f"unix:{path}"
    with bind(settings(listen=listen), 1) as made:
        yield made


def place(sockets: Sockets) -> int | str:
    """Return where to connect to."""
    return sockets.port or sockets.addresses[0].removeprefix("unix:")


def taken(**server: object) -> str:
    """Return the line that says why a server can't have its addresses."""
    with pytest.raises(StartupError) as refused:
        bind(settings(**server), 2)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_nobody_is_taken_in_before_a_worker_listens(sockets: Sockets) -> None:
    """A proxy goes elsewhere at once; and then the worker serves."""
    for _ in range(10):
        with pytest.raises(ConnectionRefusedError):
            connect(place(sockets))
    with accepting(sockets.of(0)) as [worker]:
        assert ask(place(sockets)) == worker.process.pid


def test_socket_that_does_not_listen_yet_costs_the_others_nothing() -> None:
    """Of two workers one is there: it gets every connection."""
    with bind(settings(port=0), 2) as sockets, accepting(sockets.of(1)) as [worker]:
        assert {ask(sockets.port) for _ in range(100)} == {worker.process.pid}


def test_every_worker_has_a_socket_of_its_own_and_about_its_share() -> None:
    """Of TCP: 256 connections and four workers."""
    with (
        bind(settings(port=0), 4) as sockets,
        accepting(*(sockets.of(worker) for worker in range(4))) as workers,
    ):
        assert len({descriptor for worker in range(4) for descriptor in sockets.of(worker)}) == 4
        served = collections.Counter(ask(sockets.port) for _ in range(256))
    assert set(served) == {worker.process.pid for worker in workers}
    assert min(served.values()) > 16


def test_who_waits_when_a_worker_is_killed_is_served_by_its_successor(sockets: Sockets) -> None:
    """200 connections that nobody has accepted: none is reset."""
    with accepting(sockets.of(0)) as [first]:
        first.kill()
    waiting = [connect(place(sockets)) for _ in range(200)]
    with accepting(sockets.of(0)) as [successor]:
        assert {ask(client) for client in waiting} == {successor.process.pid}


@contextmanager
def clients(sockets: Sockets, count: int) -> Iterator[tuple[list[int], list[str]]]:
    """Have clients connect and ask all the time: what they were told, and what failed."""
    answers: list[int] = []
    failures: list[str] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                answers.append(ask(place(sockets)))
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield answers, failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_nobody_notices_that_a_worker_passes_its_sockets_on_50_times(sockets: Sockets) -> None:
    """Its successor listens before it stops, and takes over who waits; all others are served."""
    descriptors = sockets.of(0)
    with accepting(descriptors, descriptors) as workers:
        workers[1].tell("pass on")
        with clients(sockets, 4) as (answers, failures):
            for turn in range(50):
                old, successor = workers[turn % 2], workers[1 - turn % 2]
                successor.tell("listen")
                old.tell("pass on")
                before = len(answers)
                wait_for(lambda before=before: len(answers) > before + 20)
                assert answers[-1] == successor.process.pid
        assert failures == []
        assert set(answers) == {worker.process.pid for worker in workers}


@pytest.mark.parametrize("kind", ["TCP", "unix"])
def test_server_that_ends_resets_nobody(kind: str, path: str) -> None:
    """Its workers serve who has connected, one after the other; who comes after that is refused."""
    listen = "127.0.0.1:0" if kind == "TCP" else f"unix:{path}"
    with (
        bind(settings(listen=listen), 2) as sockets,
        accepting(sockets.of(0), sockets.of(1)) as workers,
    ):
        sockets.release()
        where = place(sockets)
        with clients(sockets, 4) as (answers, failures):
            wait_for(lambda: len(answers) > 100)
            for worker in workers:
                worker.tell("stop")
        refused = {"ConnectionRefusedError", "FileNotFoundError"}
        assert {each.partition("(")[0] for each in failures} <= refused
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            connect(where)


def test_port_that_is_free_is_found_once_and_told() -> None:
    """By every worker's socket."""
    with bind(settings(port=0), 3) as sockets:
        for worker in range(3):
            (descriptor,) = sockets.of(worker)
            with socket.socket(fileno=os.dup(descriptor)) as made:
                assert made.getsockname() == (HOST, sockets.port)
        assert sockets.addresses == [f"http://127.0.0.1:{sockets.port}"]


def test_several_addresses_are_served_by_every_worker(path: str) -> None:
    """TCP by both families, and a unix socket."""
    listen = f"127.0.0.1:0, [::1]:0, :0, unix:{path}"
    with bind(settings(listen=listen), 2) as sockets:
        first, ipv6, every, unix = sockets.addresses
        assert unix == f"unix:{path}"
        assert first == f"http://127.0.0.1:{sockets.port}"
        with accepting(sockets.of(0)) as [worker]:
            for each in (first, every):
                assert ask(int(each.rpartition(":")[2])) == worker.process.pid
            assert ask(path) == worker.process.pid
            for each in (ipv6, every):
                client = socket.create_connection(("::1", int(each.rpartition(":")[2])), 10)
                assert ask(client) == worker.process.pid


SERVER = (
    "import sys; from ingest import config; from pathlib import Path;"
    "from ingest.supervisor.sockets import bind;"
    "made = bind(config.load(Path('/dev/null'), {}, {'server.listen': sys.argv[1]}), 2);"
    "print('bound', flush=True); sys.stdin.read()"
)


WITH_WORKERS = (
    "import sys; from tests.supervisor.processes import accepting, settings;"
    "from ingest.supervisor.sockets import bind;"
    "sockets = bind(settings(listen=sys.argv[1]), 2);"
    "workers = accepting(sockets.of(0), sockets.of(1));"
    "workers.__enter__(); print('serving', flush=True); sys.stdin.read()"
)


def supervisor(listen: str) -> subprocess.Popen[str]:
    """Start a process that has addresses, or says why not."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, listen],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
        text=True,
    )


@pytest.mark.parametrize("kind", ["port", "every interface", "path"])
def test_of_servers_that_start_at_once_one_has_the_address(kind: str, path: str) -> None:
    """Though SO_REUSEPORT would let all of them have it."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    listen = {"port": f"{HOST}:{port}", "every interface": f":{port}", "path": f"unix:{path}"}[kind]
    started = [supervisor(listen) for _ in range(4)]
    first = [process.stdout.readline() for process in started if process.stdout is not None]
    ended = [process.communicate()[1] for process in started]
    assert sorted(first) == ["", "", "", "bound\n"]
    lines = [each.splitlines()[-1] for each in ended if each]
    assert len(lines) == 3
    assert all("Address already in use; set server.listen" in line for line in lines)


def test_addresses_that_overlap_are_one_servers_though_nobody_listens_yet() -> None:
    """Whichever of the two is there first; other addresses with this port are free."""
    with bind(settings(port=0), 2) as sockets:
        port = sockets.port
        assert f"can't listen on *:{port}: Address already in use; " in taken(listen=f":{port}")
        assert "already in use; set server.host and server.port" in taken(port=port)
        bind(settings(listen=f"127.0.0.2:{port}, [::1]:{port}"), 2).close()
    with bind(settings(listen=f"0.0.0.0:{port}"), 2):
        assert "already in use" in taken(listen=f"127.0.0.1:{port}")
        bind(settings(listen=f"[::1]:{port}"), 2).close()
    bind(settings(listen=f"127.0.0.1:{port}"), 2).close()


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_address_of_another_program_is_not_shared(options: tuple[int, ...]) -> None:
    """Not even of one that would share it."""
    with socket.socket() as other:
        for each in options:
            other.setsockopt(socket.SOL_SOCKET, each, 1)
        other.bind((HOST, 0))
        other.listen()
        assert "already in use" in taken(listen=f"127.0.0.1:{other.getsockname()[1]}")


def test_new_server_starts_while_the_workers_of_one_that_was_killed_still_end(path: str) -> None:
    """The supervisor is gone, and they have its sockets for a moment longer."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    listen = f"{HOST}:{port}, unix:{path}"
    with subprocess.Popen(
        [sys.executable, "-c", WITH_WORKERS, listen],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
        text=True,
    ) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == "serving\n"
        assert ask(port)
        old.kill()
        old.wait()
        with bind(settings(listen=listen), 2) as new, accepting(new.of(0)) as [worker]:
            assert {ask(port), ask(path)} == {worker.process.pid}


def test_restart_does_not_wait_for_connections_that_were_closed() -> None:
    """The kernel remembers them for a minute, by whichever server they were served."""
    with bind(settings(port=0), 2) as sockets, accepting(sockets.of(0), sockets.of(1)):
        port = sockets.port
        for _ in range(20):
            ask(port)
    with bind(settings(port=port), 2) as sockets, accepting(sockets.of(0), sockets.of(1)):
        assert ask(port)


def test_no_process_inherits_a_socket_that_it_was_not_given() -> None:
    """Neither Postgres nor another worker: it would keep the address from the next server."""
    with bind(settings(port=0), 2) as sockets:
        for worker in range(2):
            for each in sockets.of(worker):
                assert fcntl.fcntl(each, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_mistake_at_the_last_address_leaves_nothing_of_the_first(path: str) -> None:
    """No port, no file, no name."""
    with closing(socket.create_server((HOST, 0))) as free:
        port = free.getsockname()[1]
    listen = f"127.0.0.1:{port}, unix:{path}, unix:{path}.missing/x"
    assert f"there is no directory {path}.missing" in taken(listen=listen)
    assert not Path(path).exists()
    bind(settings(listen=f"127.0.0.1:{port}, unix:{path}"), 1).close()


def test_monitor_has_one_socket_where_who_comes_early_waits() -> None:
    """It listens at once; the address is told if it is taken."""
    with closing(socket.create_server((HOST, 0))) as free:
        port = free.getsockname()[1]
    loaded = settings(port=0)
    loaded = replace(loaded, metrics=replace(loaded.metrics, port=port))
    with bind(loaded, 2) as sockets:
        assert sockets.monitor is not None
        waiting = connect(port)
        with pytest.raises(StartupError, match=r"in use; set metrics\.host and metrics\.port"):
            bind(loaded, 2)
        with accepting([sockets.monitor]) as [worker]:
            assert ask(waiting) == worker.process.pid
